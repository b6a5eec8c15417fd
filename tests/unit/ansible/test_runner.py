# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module ends: with its result, or with an error that says which it is."""

from __future__ import annotations

import os
import pwd
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import runner
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import (
    IntegrityError,
    PreconditionError,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.ports import ProgressSink
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.privileges import Owner
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report import job_file
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import (
    Finished,
    PhaseStarted,
    Progress,
    Warned,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import KeySpec, RepositorySpec

ERROR = IntegrityError("reading x", "it is damaged.", "Restore it.", code="object_damaged", object="x")
MISSING = PreconditionError(
    "importing", "not there.", "Install it.", code="python_package_missing", package="zstandard"
)
REPOSITORY = RepositorySpec("/srv", KeySpec(key_file=Path("/k")))


class Ended(Exception):
    """The module has given its result."""


class Module:
    """What a module's code sees of AnsibleModule."""

    _name = "lifeboat.postgresql.pg_backup"

    def __init__(self, job_id: str | None) -> None:
        self.params = {"job_id": job_id, "agent_command": "/nowhere"}
        self.warned: list[str] = []
        self.failed: bool | None = None
        self.result: dict[str, Any] = {}

    def warn(self, message: str) -> None:
        self.warned.append(message)

    def exit_json(self, **result: Any) -> None:
        self.failed, self.result = False, result
        raise Ended

    def fail_json(self, **result: Any) -> None:
        self.failed, self.result = True, result
        raise Ended


@pytest.fixture
def module() -> Iterator[Module]:
    job_id = f"test-{secrets.token_hex(8)}"
    yield Module(job_id)
    (job_file.job_directory() / f"{job_id}.jsonl").unlink(missing_ok=True)


def me() -> Owner:
    entry = pwd.getpwuid(os.geteuid())
    return Owner(entry.pw_uid, entry.pw_gid, entry.pw_name)


def run(module: Module, task: Any) -> None:
    with pytest.raises(Ended), runner.reporting(module):  # type: ignore[arg-type]
        runner.run(module, REPOSITORY, (), me, task)  # type: ignore[arg-type]


def told(module: Module) -> list[Any]:
    """The events in the job file."""
    lines = (job_file.job_directory() / f"{module.params['job_id']}.jsonl").read_text().splitlines()
    return [event for event in map(job_file.parse_line, lines) if event is not None]


def test_a_task_that_succeeds_gives_its_result(module: Module) -> None:
    def task(sink: ProgressSink) -> dict[str, Any]:
        sink.emit(PhaseStarted("copying"))
        sink.emit(Warned("odd"))
        sink.emit(Progress(1, 2))
        return {"changed": True, "backup": "b"}

    run(module, task)
    assert (module.failed, module.result) == (False, {"changed": True, "backup": "b"})
    assert module.warned == ["odd"]
    assert told(module) == [PhaseStarted("copying"), Warned("odd"), Progress(1, 2), Finished(True, "done")]


def test_an_error_says_which_it_is_and_what_to_do(module: Module) -> None:
    def task(sink: ProgressSink) -> dict[str, Any]:
        sink.emit(Warned("odd"))
        raise ERROR

    run(module, task)
    assert module.failed
    assert module.result == {
        "msg": "reading x: it is damaged. Restore it.",
        "error_code": "object_damaged",
        "error_kind": "integrity",
        "attempted": "reading x",
        "happened": "it is damaged.",
        "remedy": "Restore it.",
        "details": {"object": "x"},
        "changed": False,
    }
    assert module.warned == ["odd"]
    assert told(module)[-1] == Finished(False, ERROR.message)


def test_a_defect_has_a_code_too(module: Module) -> None:
    def task(sink: ProgressSink) -> dict[str, Any]:
        raise ZeroDivisionError("oops")

    run(module, task)
    assert (module.failed, module.result["error_code"]) == (True, "internal_error")
    assert "oops" in module.result["msg"]


def test_a_result_that_says_so_is_a_failure(module: Module) -> None:
    result = {"changed": False, "failed": True, "msg": "not good", "checks": []}
    run(module, lambda sink: result)
    assert (module.failed, module.result) == (True, result)
    assert told(module)[-1] == Finished(False, "not good")


# --- packages


@pytest.mark.parametrize("found", ["/usr/bin/python3.9", None])
@pytest.mark.parametrize("respawned", [True, False])
def test_another_interpreter_is_tried_once(
    module: Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: str | None, respawned: bool
) -> None:
    tried: list[Any] = []

    def lacks(*_ignored: object) -> None:
        raise PreconditionError(
            "importing", "it is missing.", "Install it.", code="python_package_missing", package="zstandard"
        )

    def probe(candidates: list[str], package: str) -> str | None:
        tried.append((candidates, package))
        return found

    def respawn(interpreter: str) -> None:
        tried.append(interpreter)
        raise Ended

    (tmp_path / "lifeboat").write_bytes(b"#!/opt/python -I\nPK\x03\x04")
    module.params["agent_command"] = str(tmp_path / "lifeboat")
    monkeypatch.setattr(runner, "prepare", lacks)
    monkeypatch.setattr(runner, "has_respawned", lambda: respawned)
    monkeypatch.setattr(runner, "probe_interpreters_for_module", probe)
    monkeypatch.setattr(runner, "respawn_module", respawn)
    run(module, lambda sink: {})
    probed = (["/opt/python", "/usr/bin/python3", "/usr/libexec/platform-python"], "zstandard")
    assert tried == ([] if respawned else [probed, *([found] if found else [])])
    assert module.failed is (None if found and not respawned else True)
    assert module.failed is None or module.result["error_code"] == "python_package_missing"


def test_a_mistake_in_the_repository_is_no_missing_package(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_ignored: object) -> None:
        raise PreconditionError("opening", "the URL is wrong.", "Correct it.", code="repository_url_invalid")

    monkeypatch.setattr(runner, "prepare", refuse)
    monkeypatch.setattr(runner, "respawn_module", lambda interpreter: pytest.fail("respawned"))
    run(module, lambda sink: {})
    assert module.result["error_code"] == "repository_url_invalid"


def test_megabytes_are_decimal_and_nothing_means_no_limit() -> None:
    assert [runner.bytes_per_second(rate) for rate in (None, 0, 1.5)] == [None, None, 1_500_000]
