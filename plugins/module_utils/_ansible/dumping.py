# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the options of `kind: logical` to the engine's requests, and from their results to the modules'."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .._engine.clock import SystemClock
from .._engine.dump_selection import CONTENTS, FORMS, Selection
from .._engine.errors import PreconditionError
from .._engine.jobs import summary
from .._engine.jobs.backup import logical as backup
from .._engine.jobs.restore import from_file
from .._engine.jobs.restore import logical as restore
from .._engine.jobs.restore.database_swap import IF_EXISTS
from .._engine.ports import ProgressSink
from .._engine.process import Runner
from .._engine.specs import ClusterSpec, RepositorySpec
from . import runner, settings

OF_LOGICAL_RESTORES = (
    *("database", "target_database", "file", "file_passphrase", "tables"),
    *("no_owner", "no_privileges", "single_transaction"),
)
_PATTERNS = ("tables", "exclude_tables", "exclude_table_data", "schemas", "exclude_schemas")
OF_LOGICAL_BACKUPS = ("databases", *_PATTERNS, "large_objects")
Task = Callable[[ProgressSink], dict[str, Any]]

BACKUP_OPTIONS: dict[str, Any] = {
    "databases": {"type": "list", "elements": "str", "default": []},
    "dump_format": {"type": "str", "choices": list(FORMS), "default": "custom"},
    **{name: {"type": "list", "elements": "str", "default": []} for name in _PATTERNS},
    "content": {"type": "str", "choices": list(CONTENTS), "default": "all"},
    "large_objects": {"type": "bool"},
    "globals": {"type": "bool", "default": True},
    "dump_compression": {"type": "str", "choices": list(backup.COMPRESSIONS), "default": "zstd"},
}
RESTORE_OPTIONS: dict[str, Any] = {
    "database": {"type": "str"},
    "target_database": {"type": "str"},
    "if_exists": {"type": "str", "choices": list(IF_EXISTS), "default": "fail"},
    "content": {"type": "str", "choices": list(CONTENTS), "default": "all"},
    "no_owner": {"type": "bool", "default": False},
    "no_privileges": {"type": "bool", "default": False},
    "missing_roles": {"type": "str", "choices": list(restore.MISSING_ROLES), "default": "fail"},
    "disable_triggers": {"type": "bool", "default": False},
    "single_transaction": {"type": "bool", "default": False},
    "file": {"type": "path"},
    "file_passphrase": {"type": "str", "no_log": True},
    "tables": {"type": "list", "elements": "str", "default": []},
}


_OF_PHYSICAL = (
    *("destination", "files", "delta", "keep_old", "standby", "port", "socket_directory", "tablespace_mapping"),
    *("target_time", "target_lsn", "target_xid", "target_name", "target_immediate"),
)


def refuse_others(module: AnsibleModule, names: Iterable[str], kind: str) -> None:
    """Refuse options of the other kind: whoever gives them expects something that would not happen."""
    given = [name for name in names if module.params.get(name)]
    if given:
        raise PreconditionError(
            f"reading the options of {module._name}",
            f"{', '.join(given)} cannot be used with kind: {kind}.",
            "Leave out what belongs to the other kind, or set kind.",
            code="setting_invalid",
        )


def backup_task(module: AnsibleModule, cluster: ClusterSpec, repository: RepositorySpec) -> Task:
    """Make a logical backup."""
    params = module.params
    if params["type"] == "incremental":
        refuse_others(module, ["type"], "logical")
    request = backup.LogicalRequest(
        cluster,
        repository,
        databases=tuple(params["databases"]),
        form=params["dump_format"],
        selection=Selection(
            **{name: tuple(params[name]) for name in _PATTERNS},
            content=params["content"],
            large_objects=params["large_objects"],
        ),
        globals=params["globals"],
        compression=params["dump_compression"],
        compression_level=params["compression_level"],
        max_age=None if params["max_age"] is None else timedelta(hours=params["max_age"]),
        max_rate=runner.bytes_per_second(params["max_rate"]),
        low_priority=params["low_priority"],
        backup_class=params["backup_class"],
        annotations={str(name): str(text) for name, text in params["annotations"].items()},
    )

    def task(sink: ProgressSink) -> dict[str, Any]:
        result = backup.run(request, SystemClock(), Runner(), sink, check_mode=module.check_mode)
        return {
            "changed": result.changed,
            "type": "full",
            "backup": summary.logical(result.backup) if result.backup else {},
            "databases": result.databases,
        }

    return task


def file_task(module: AnsibleModule) -> tuple[Task, Path | None]:
    """Bring a dump back that is a file of the user's, in no repository; with the directory whose owner does it."""
    params = module.params
    refuse_others(module, (*_OF_PHYSICAL, "database", "disable_triggers"), "logical and file")
    values = settings.cluster_values(params)
    connection, data_directory = settings.connection(params)
    request = from_file.FileRestoreRequest(
        connection,
        Path(params["file"]),
        params["target_database"],
        data_directory,
        Path(values["bin_dir"]) if values.get("bin_dir") else None,
        passphrase=params["file_passphrase"],
        tables=tuple(params["tables"]),
        if_exists=params["if_exists"],
        content=params["content"],
        no_owner=params["no_owner"],
        no_privileges=params["no_privileges"],
        single_transaction=params["single_transaction"],
        low_priority=params["low_priority"],
    )

    def task(sink: ProgressSink) -> dict[str, Any]:
        result = from_file.run(request, SystemClock(), Runner(), sink, check_mode=module.check_mode)
        payload = result.description.payload
        return {
            "changed": True,
            "file": {
                "kind": payload.kind,
                "layers": [layer.name for layer in result.description.layers],
                "server_version": payload.server_version or "",
                "database": payload.database or "",
            },
            "target_database": result.target,
            "kept_old": result.kept_old or "",
            "phases": [asdict(phase) for phase in result.phases],
        }

    return task, data_directory


def restore_task(module: AnsibleModule, cluster: ClusterSpec, repository: RepositorySpec) -> Task:
    """Bring a database back."""
    params = module.params
    refuse_others(module, (*_OF_PHYSICAL, "tables"), "logical, without a file")
    request = restore.LogicalRestoreRequest(
        cluster,
        repository,
        backup=params["backup"],
        database=params["database"],
        target=params["target_database"],
        if_exists=params["if_exists"],
        content=params["content"],
        no_owner=params["no_owner"],
        no_privileges=params["no_privileges"],
        missing_roles=params["missing_roles"],
        disable_triggers=params["disable_triggers"],
        single_transaction=params["single_transaction"],
        jobs=params["jobs"] or 1,
        low_priority=params["low_priority"],
    )

    def task(sink: ProgressSink) -> dict[str, Any]:
        result = restore.run(request, SystemClock(), Runner(), sink, check_mode=module.check_mode)
        return {"changed": True, **summary.database(result)}

    return task
