# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What backup_verify returns: good only when every check is, and every target is met."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import proof
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.verify.checks import Assertion, Check
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.verify.prove import VerifyResult
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.phases import PhaseTime

GOOD, BAD = Check("files", True, "all there"), Check("amcheck", False, "an index is damaged")
NO_TARGETS = {"rto_target": None, "rpo_target": None}


def result(*checks: Check, level: str = "restore", **values: Any) -> dict[str, Any]:
    targets = {name: values.pop(name, None) for name in NO_TARGETS}
    return proof._result(targets, VerifyResult(level, "b", list(checks), **values))


def test_a_good_backup_changes_nothing_and_fails_nothing() -> None:
    assert result(GOOD, level="content") == {
        "changed": False,
        "failed": False,
        "backup_id": "b",
        "level": "content",
        "checks": [{"name": "files", "ok": True, "evidence": "all there"}],
    }


def test_one_bad_check_fails_the_play_and_is_named() -> None:
    found = result(GOOD, BAD, level="content")
    assert (found["failed"], found["error_code"]) == (True, "verification_failed")
    assert found["msg"] == "backup b is not good: amcheck: an index is damaged"
    assert len(found["checks"]) == 2


def test_a_restore_tells_its_times() -> None:
    found = result(
        GOOD,
        phases=[PhaseTime("copying", 1.5)],
        rto_seconds=2.0,
        rpo_seconds=3.0,
        last_commit=datetime(2026, 1, 1, tzinfo=timezone.utc),
    )
    assert found["phases"] == [{"phase": "copying", "seconds": 1.5}]
    assert (found["rto_seconds"], found["rpo_seconds"]) == (2.0, 3.0)
    assert found["last_commit"] == "2026-01-01T00:00:00.000000Z"
    assert result(GOOD)["last_commit"] == ""


@pytest.mark.parametrize("name", ["rto", "rpo"])
@pytest.mark.parametrize(
    ("seconds", "target", "good"),
    [(10, 10, True), (9, 10, True), (11, 10, False), (None, 10, False), (11, None, True), (1, 0, False), (0, 0, True)],
)
def test_a_target_is_met_or_the_play_fails(name: str, seconds: float | None, target: float | None, good: bool) -> None:
    found = result(GOOD, **{f"{name}_seconds": seconds, f"{name}_target": target})
    assert found["failed"] is not good
    judged = [check for check in found["checks"] if check["name"] == name.upper()]
    assert [check["ok"] for check in judged] == ([] if target is None else [good])


def test_rows_of_a_table_are_counted() -> None:
    given = {"name": "n", "query": None, "table": "public.orders", "database": "shop", "equals": None, "at_least": 5.0}
    counting = Assertion("n", "SELECT count(*) FROM public.orders", "shop", None, 5.0)
    assert proof.assertion(given) == counting
    asking = proof.assertion({**given, "query": "SELECT 1", "table": None, "equals": "1", "at_least": None})
    assert asking == Assertion("n", "SELECT 1", "shop", "1", None)
