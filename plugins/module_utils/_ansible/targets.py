# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that say how far to recover. Their documentation is in plugins/doc_fragments/target.py."""

from __future__ import annotations

from typing import Any

from .._engine.clock import SystemClock
from .._engine.jobs.restore.target_text import Target, TargetText
from .arguments import Spec

TARGET: Spec = {
    "target_time": {"type": "str"},
    "target_lsn": {"type": "str"},
    "target_xid": {"type": "str"},
    "target_name": {"type": "str"},
    "target_immediate": {"type": "bool", "default": False},
    "target_inclusive": {"type": "bool", "default": True},
    "target_timeline": {"type": "str", "default": "latest"},
}
# Of these one may be given; `target_immediate` too, but false is not given.
EXCLUSIVE = [("target_time", "target_lsn", "target_xid", "target_name")]


def target(params: dict[str, Any]) -> Target:
    """The target that the options mean."""
    text = TargetText(
        time=params["target_time"],
        lsn=params["target_lsn"],
        xid=params["target_xid"],
        name=params["target_name"],
        immediate=params["target_immediate"],
        inclusive=params["target_inclusive"],
        timeline=params["target_timeline"],
        action=params.get("target_action") or "promote",
    )
    return text.parse(SystemClock().now())
