# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From `backup_verify`'s options to the engine's request, and from its result to the module's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from .._engine.clock import SystemClock, utc_text
from .._engine.jobs.verify import prove as verify
from .._engine.jobs.verify.checks import Assertion, Check
from .._engine.jobs.verify.restoring import ScratchRequest
from .._engine.ports import ProgressSink
from .._engine.process import Runner


def assertion(given: dict[str, Any]) -> Assertion:
    """A query as it stands, or a count of a table's rows."""
    query = given["query"] or f"SELECT count(*) FROM {given['table']}"
    return Assertion(given["name"], query, given["database"], given["equals"], given["at_least"])


def _within(name: str, seconds: float | None, target: float | None) -> list[Check]:
    """A measured time against its target; what could not be measured is not good."""
    if target is None:
        return []
    if seconds is None:
        return [Check(name, False, f"could not be measured; the target is {target:g} s")]
    return [Check(name, seconds <= target, f"{seconds:g} s, the target is {target:g} s")]


def _result(params: dict[str, Any], found: verify.VerifyResult) -> dict[str, Any]:
    checks = [
        *found.checks,
        *_within("RTO", found.rto_seconds, params["rto_target"]),
        *_within("RPO", found.rpo_seconds, params["rpo_target"]),
    ]
    bad = [check for check in checks if not check.ok]
    result: dict[str, Any] = {
        "changed": False,
        "failed": bool(bad),
        "backup_id": found.backup_id,
        "level": found.level,
        "checks": [asdict(check) for check in checks],
    }
    if found.level == "restore":
        result["phases"] = [asdict(phase) for phase in found.phases]
        result["rto_seconds"], result["rpo_seconds"] = found.rto_seconds, found.rpo_seconds
        result["isolation"] = found.isolation
        result["last_commit"] = utc_text(found.last_commit) if found.last_commit else ""
    if bad:
        result["error_code"] = "verification_failed"
        result["msg"] = f"backup {found.backup_id} is not good: " + "; ".join(
            f"{check.name}: {check.evidence}" for check in bad
        )
    return result


def task(
    request: ScratchRequest, params: dict[str, Any], *, check_mode: bool
) -> Callable[[ProgressSink], dict[str, Any]]:
    """What the module runs as the owner."""

    def run(sink: ProgressSink) -> dict[str, Any]:
        clock = SystemClock()
        if check_mode:
            return {
                "changed": False,
                "backup_id": verify.plan(params["level"], request, clock, Runner(), sink),
                "level": params["level"],
                "checks": [],
            }
        return _result(params, verify.run(params["level"], request, clock, Runner(), sink))

    return run
