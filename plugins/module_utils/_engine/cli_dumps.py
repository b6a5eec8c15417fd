# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of `lifeboat` that dump databases and bring them back."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import timedelta
from typing import Any

from .as_owner import owner_of_dumps, owner_or_self, run_job
from .clock import SystemClock
from .dump_selection import Selection
from .jobs import summary
from .jobs.backup import logical as backup
from .jobs.restore import from_file
from .jobs.restore import logical as restore
from .ports import ProgressSink
from .process import Runner
from .report.terminal import TerminalSink
from .report.wording import duration_text, size_text
from .specs import ClusterSpec, RepositorySpec


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def dump(arguments: argparse.Namespace, cluster: ClusterSpec, repository: RepositorySpec) -> int:
    """Dump databases."""
    request = backup.LogicalRequest(
        cluster,
        repository,
        databases=tuple(arguments.database),
        form=arguments.format,
        selection=Selection(
            tables=tuple(arguments.table),
            exclude_tables=tuple(arguments.exclude_table),
            exclude_table_data=tuple(arguments.exclude_table_data),
            content=arguments.content,
        ),
        globals=not arguments.no_globals,
        max_age=timedelta(hours=arguments.max_age) if arguments.max_age is not None else None,
        max_rate=arguments.max_rate * 1_000_000 if arguments.max_rate else None,
        low_priority=arguments.low_priority,
        backup_class=arguments.backup_class,
    )

    def task(sink: ProgressSink) -> dict[str, Any]:
        result = backup.run(request, SystemClock(), Runner(), sink)
        return {"changed": result.changed, "backup": summary.logical(result.backup) if result.backup else None}

    owner = owner_of_dumps(cluster, repository)
    result = run_job(owner, repository, backup.THIRD_PARTY, task, TerminalSink(sys.stderr))
    made = result["backup"]
    if arguments.json:
        _print(json.dumps(result))
    elif result["changed"]:
        names = ", ".join(each["name"] for each in made["members"] if each["kind"] == "database")
        _print(f"dump {made['id']} of {names}: {size_text(made['bytes'])} stored in {size_text(made['stored_bytes'])}")
    else:
        _print(f"dump {made['id']} is young enough; nothing to do")
    return 0


def _restore_file(arguments: argparse.Namespace, cluster: ClusterSpec) -> int:
    secret = arguments.file_passphrase_file
    request = from_file.FileRestoreRequest(
        cluster.connection,
        arguments.file.absolute(),
        arguments.target_database,
        cluster.data_directory,
        cluster.bin_directory,
        passphrase=secret.read_text(encoding="utf-8").split("\n")[0] if secret else None,
        tables=tuple(arguments.table),
        if_exists=arguments.if_exists,
        content=arguments.content,
        no_owner=arguments.no_owner,
        no_privileges=arguments.no_privileges,
        low_priority=arguments.low_priority,
    )

    def task(sink: ProgressSink) -> dict[str, Any]:
        result = from_file.run(request, SystemClock(), Runner(), sink)
        return {"target_database": result.target, "kept_old": result.kept_old or ""}

    owner = owner_or_self(cluster.data_directory)
    result = run_job(owner, None, from_file.THIRD_PARTY, task, TerminalSink(sys.stderr))
    _print(json.dumps(result) if arguments.json else f"{request.path} is restored in {result['target_database']}")
    if result["kept_old"] and not arguments.json:
        _print(f"  what was there is kept as {result['kept_old']}")
    return 0


def restore_dump(arguments: argparse.Namespace, cluster: ClusterSpec, repository: RepositorySpec) -> int:
    """Bring a database back."""
    if arguments.file:
        return _restore_file(arguments, cluster)
    request = restore.LogicalRestoreRequest(
        cluster,
        repository,
        backup=arguments.backup,
        database=arguments.database,
        target=arguments.target_database,
        if_exists=arguments.if_exists,
        content=arguments.content,
        no_owner=arguments.no_owner,
        no_privileges=arguments.no_privileges,
        missing_roles=arguments.missing_roles,
        jobs=arguments.jobs,
        low_priority=arguments.low_priority,
    )

    def task(sink: ProgressSink) -> dict[str, Any]:
        return summary.database(restore.run(request, SystemClock(), Runner(), sink))

    owner = owner_of_dumps(cluster, repository)
    result = run_job(owner, repository, restore.THIRD_PARTY, task, TerminalSink(sys.stderr))
    if arguments.json:
        _print(json.dumps(result))
        return 0
    seconds = duration_text(sum(phase["seconds"] for phase in result["phases"]))
    done = f"{result['database']} as of {result['as_of']} is restored in {result['target_database']}, in {seconds}"
    _print(done)
    if result["kept_old"]:
        _print(f"  what was there is kept as {result['kept_old']}")
    return 0
