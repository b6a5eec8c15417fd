# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the result of every task, as a user's callback would see it, to the file named by LIFEBOAT_TEST_RESULTS."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: lifeboat_results
type: aggregate
short_description: Task results as JSON lines for the test harness
description: One line per host and task, and one with the totals.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Loaded beside the ordinary output because it lies in ANSIBLE_CALLBACK_PLUGINS."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "lifeboat_results"

    def _write(self, entry: dict[str, Any]) -> None:
        with open(os.environ["LIFEBOAT_TEST_RESULTS"], "a") as lines:
            lines.write(json.dumps(entry, default=str) + "\n")

    def _write_task(self, outcome: Any, status: str) -> None:
        self._write(
            {
                "host": outcome.host.get_name(),
                "task": outcome.task.get_name(),
                "action": outcome.task.action,
                "status": status,
                "result": dict(outcome.result),
            }
        )

    def v2_runner_on_ok(self, result: Any) -> None:
        self._write_task(result, "ok")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._write_task(result, "failed")

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._write_task(result, "skipped")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._write_task(result, "unreachable")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._write({"totals": {host: stats.summarize(host) for host in stats.processed}})
