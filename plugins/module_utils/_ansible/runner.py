# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How every module runs: under an interpreter that has the packages, with a job file, and one exit."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import (
    has_respawned,
    probe_interpreters_for_module,
    respawn_module,
)

from .._engine.as_owner import run_job
from .._engine.errors import LifeboatError, PreconditionError
from .._engine.ports import ProgressSink
from .._engine.privileges import Owner
from .._engine.report.events import Event, Finished, Warned
from .._engine.report.job_file import open_job
from .._engine.report.tee import Tee
from .._engine.repository.access import prepare
from .._engine.specs import RepositorySpec
from . import hidden

_SYSTEM_INTERPRETERS = ("/usr/bin/python3", "/usr/libexec/platform-python")


class _Warnings:
    """Collects what the user should know although the task goes on."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def emit(self, event: Event) -> None:
        """Keep warnings only."""
        if isinstance(event, Warned):
            self.messages.append(event.message)


def fail(module: AnsibleModule, error: LifeboatError, **result: Any) -> None:
    """The one place where an engine error becomes a module's failure."""
    module.fail_json(
        msg=error.message,
        error_code=error.code,
        error_kind=error.kind,
        attempted=error.attempted,
        happened=error.happened,
        remedy=error.remedy,
        details=error.details,
        **{"changed": False, **result},
    )


def bytes_per_second(megabytes: float | None) -> float | None:
    """A `max_rate` as the engine counts."""
    return megabytes * 1_000_000 if megabytes else None


def _agent_interpreter(agent_command: str) -> list[str]:
    """The interpreter of the installed command: the one whose packages the roles look after."""
    try:
        with Path(agent_command).open("rb") as stream:
            first = stream.readline(256)
    except OSError:
        return []
    return [first[2:].split()[0].decode()] if first.startswith(b"#!/") else []


def ensure_packages(module: AnsibleModule, repository: RepositorySpec | None, packages: Iterable[str]) -> None:
    """Respawn under an interpreter that has what this one lacks; name the package if none has."""
    try:
        prepare(repository, packages)
    except PreconditionError as error:
        package = error.details.get("package")
        if package and not has_respawned():
            candidates = [*_agent_interpreter(module.params["agent_command"]), *_SYSTEM_INTERPRETERS]
            interpreter = probe_interpreters_for_module(candidates, package)
            if interpreter:
                respawn_module(interpreter)
        fail(module, error)


@contextlib.contextmanager
def reporting(module: AnsibleModule) -> Iterator[None]:
    """Every engine error inside the block ends the module with its message and code, and no secret is shown."""
    hidden.hide(module)
    try:
        hidden.warn(module)
        yield
    except LifeboatError as error:
        fail(module, error)


def run(
    module: AnsibleModule,
    repository: RepositorySpec | None,
    packages: Iterable[str],
    owner: Callable[[], Owner],
    task: Callable[[ProgressSink], dict[str, Any]],
    *,
    may_mount: bool = False,
) -> None:
    """Run the task as the owner, let others follow it in the job file, and end the module with its result."""
    ensure_packages(module, repository, packages)
    warnings = _Warnings()
    job = open_job(module.params["job_id"] or f"{module._name}-{secrets.token_hex(6)}", module._name)
    try:
        result = run_job(owner(), repository, packages, task, Tee(job, warnings), may_mount=may_mount)
    except LifeboatError as error:
        job.emit(Finished(ok=False, message=error.message))
        raise
    finally:
        for message in warnings.messages:
            module.warn(message)
    job.emit(Finished(ok=not result.get("failed", False), message=str(result.get("msg", "done"))))
    if result.get("failed"):
        module.fail_json(**result)
    module.exit_json(**result)
