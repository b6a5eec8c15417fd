# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From `pg_restore`'s options to the engine's requests, and from their results to the module's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine.clock import SystemClock
from .._engine.jobs import summary
from .._engine.jobs.restore import files as restore_files
from .._engine.jobs.restore import physical as restore
from .._engine.jobs.restore.recovery import Standby, follow
from .._engine.ports import ProgressSink
from .._engine.process import Runner
from .._engine.specs import ClusterSpec, RepositorySpec
from . import runner, targets

DEFAULT_JOBS = 2
Task = Callable[[ProgressSink], dict[str, Any]]


def destination(params: dict[str, Any]) -> Path:
    """Where the restore goes."""
    return Path(params["destination"])


def cluster_task(module: AnsibleModule, cluster: ClusterSpec, repository: RepositorySpec) -> Task:
    """Restore a whole cluster."""
    params = module.params
    request = restore.RestoreRequest(
        repository=repository,
        stanza=cluster.stanza,
        data_directory=destination(params),
        agent=Path(params["agent_command"]),
        backup=params["backup"],
        target=targets.target(params),
        bin_directory=cluster.bin_directory,
        port=params["port"],
        socket_directory=Path(params["socket_directory"]) if params["socket_directory"] else None,
        tablespace_mapping=params["tablespace_mapping"],
        delta=params["delta"],
        keep_old=params["keep_old"],
        standby=_standby(params, cluster),
        start=params["start"],
        max_rate=runner.bytes_per_second(params["max_rate"]),
        low_priority=params["low_priority"],
        jobs=params["jobs"] or DEFAULT_JOBS,
        recovery_timeout=params["recovery_timeout"],
        original=cluster.data_directory,
    )

    def task(sink: ProgressSink) -> dict[str, Any]:
        result = restore.run(request, SystemClock(), Runner(), sink, check_mode=module.check_mode)
        return {"changed": True, "destination": params["destination"], **summary.restore(result)}

    return task


def _standby(params: dict[str, Any], cluster: ClusterSpec) -> Standby | None:
    """Whom to follow: as told, else the server that the connection options lead to."""
    if not params["standby"]:
        return None
    conninfo, slot = params["primary_conninfo"], params["primary_slot_name"]
    return follow(cluster.connection, cluster.data_directory, slot) if conninfo is None else Standby(conninfo, slot)


def files_task(module: AnsibleModule, cluster: ClusterSpec, repository: RepositorySpec) -> Task:
    """Restore single files."""
    params = module.params
    request = restore_files.FilesRequest(
        repository=repository,
        stanza=cluster.stanza,
        destination=destination(params),
        patterns=params["files"],
        backup=params["backup"],
        jobs=params["jobs"] or DEFAULT_JOBS,
        max_rate=runner.bytes_per_second(params["max_rate"]),
        low_priority=params["low_priority"],
    )

    def task(sink: ProgressSink) -> dict[str, Any]:
        result = restore_files.run(request, SystemClock(), sink, check_mode=module.check_mode)
        return {
            "changed": result.changed,
            "backup": summary.backup(result.backup),
            "destination": params["destination"],
            "restored_files": result.restored,
            "unchanged_files": result.unchanged,
            "phases": [asdict(phase) for phase in result.phases],
        }

    return task
