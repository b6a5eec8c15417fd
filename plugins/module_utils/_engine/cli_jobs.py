# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of `lifeboat` that run a job and show its progress.

Each imports its own job when it is called: a timer that runs a backup every few minutes has no use for the
restores, and importing them all takes as long as a small backup.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .as_owner import owner_for_cluster, owner_of_new, run_job
from .clock import SystemClock
from .ports import ProgressSink
from .process import Runner
from .report.terminal import TerminalSink
from .report.wording import duration_text, size_text
from .specs import ClusterSpec, RepositorySpec

if TYPE_CHECKING:
    from .jobs.restore import physical as restore
    from .jobs.restore import target_text
    from .jobs.restore.recovery import Standby

_MEGABYTE = 1_000_000
Command = Callable[[argparse.Namespace, ClusterSpec, RepositorySpec], int]


def _rate(arguments: argparse.Namespace) -> float | None:
    return arguments.max_rate * _MEGABYTE if arguments.max_rate else None


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _backup(arguments: argparse.Namespace, cluster: ClusterSpec, repository: RepositorySpec) -> int:
    from .jobs import summary
    from .jobs.backup import physical as backup

    request = backup.BackupRequest(
        cluster,
        repository,
        backup_type=arguments.type,
        max_age=timedelta(hours=arguments.max_age) if arguments.max_age is not None else None,
        jobs=arguments.jobs,
        max_rate=_rate(arguments),
        low_priority=arguments.low_priority,
        backup_class=arguments.backup_class,
    )

    def task(sink: ProgressSink) -> dict[str, Any]:
        result = backup.run(request, SystemClock(), sink)
        return {"changed": result.changed, "backup": summary.backup(result.backup) if result.backup else None}

    owner = owner_for_cluster(cluster, repository)
    result = run_job(owner, repository, (*backup.THIRD_PARTY, *backup.IMPORTED_LATER), task, TerminalSink(sys.stderr))
    made = result["backup"]
    if arguments.json:
        _print(json.dumps(result))
    elif result["changed"]:
        _print(f"backup {made['id']}: {size_text(made['bytes'])} stored in {size_text(made['stored_bytes'])}")
    else:
        _print(f"backup {made['id']} is young enough; nothing to do")
    return 0


def _info(arguments: argparse.Namespace, cluster: ClusterSpec, repository: RepositorySpec) -> int:
    from .jobs import summary
    from .jobs.status import info

    found = summary.info(info.read(repository, cluster.stanza))
    if arguments.json:
        _print(json.dumps(found))
        return 0
    _print(f"{found['stanza']} in {found['repository']}")
    for life in found["incarnations"] if found["incarnations"][1:] else ():
        until = "the present one" if life["is_present"] else f"WAL up to {life['last_segment'] or 'none'}"
        count = f"{len(life['backups'])} backups"
        _print(f"  life {life['number']}: PostgreSQL {life['major_version']}, since {life['began']}, {count}, {until}")
    shipped = found["timelines"][-1]["partial_until"] if found["timelines"] else None
    beginning = f", and the beginning of the next up to {shipped}" if shipped else ""
    _print(f"  WAL: {found['wal']['segments']} segments, newest {found['wal']['last'] or 'none'}{beginning}")
    for gap in found["dropped_wal"]:
        files = f"{gap['files'][0]} to {gap['files'][-1]}"
        _print(f"  WAL given up by wal_drop_after = {gap['policy']} on {gap['until']} ({gap['reason']}): {files}")
    for made, window in zip(found["backups"], found["windows"]):
        gap = f", WAL missing from {window['missing_segments'][0]}" if window["missing_segments"] else ""
        _print(f"  {made['id']}  {size_text(made['bytes'])}  recoverable from {window['earliest']}{gap}")
    for made in found["logical_backups"]:
        names = ", ".join(each["name"] for each in made["members"] if each["kind"] == "database")
        _print(f"  {made['id']}  {size_text(made['bytes'])}  dump of {names}")
    if not found["backups"] and not found["logical_backups"]:
        _print("  no backups")
    return 0


def _target(arguments: argparse.Namespace) -> target_text.Target:
    from .jobs.restore import target_text

    text = target_text.TargetText(
        time=arguments.target_time,
        lsn=arguments.target_lsn,
        xid=arguments.target_xid,
        name=arguments.target_name,
        immediate=arguments.target_immediate,
        inclusive=not arguments.target_exclusive,
        timeline=arguments.target_timeline,
        action=getattr(arguments, "target_action", "promote"),
    )
    return text.parse(SystemClock().now())


def _standby(arguments: argparse.Namespace, cluster: ClusterSpec) -> Standby | None:
    if not arguments.standby:
        return None
    from .jobs.restore.recovery import Standby, follow

    conninfo, slot = arguments.primary_conninfo, arguments.primary_slot_name
    return follow(cluster.connection, cluster.data_directory, slot) if conninfo is None else Standby(conninfo, slot)


def _restore_request(
    arguments: argparse.Namespace, cluster: ClusterSpec, repository: RepositorySpec, directory: Path
) -> restore.RestoreRequest:
    from .jobs.restore import physical as restore

    return restore.RestoreRequest(
        repository=repository,
        stanza=cluster.stanza,
        data_directory=directory,
        agent=Path(sys.argv[0]).absolute(),
        backup=arguments.backup,
        target=_target(arguments),
        bin_directory=cluster.bin_directory,
        jobs=arguments.jobs,
        max_rate=_rate(arguments),
        low_priority=arguments.low_priority,
        original=cluster.data_directory,
    )


def _restore_files(arguments: argparse.Namespace, cluster: ClusterSpec, repository: RepositorySpec) -> int:
    from .jobs import summary
    from .jobs.restore import files as restore_files

    request = restore_files.FilesRequest(
        repository,
        cluster.stanza,
        arguments.destination.absolute(),
        arguments.file,
        arguments.backup,
        arguments.jobs,
        _rate(arguments),
        arguments.low_priority,
    )

    def task(sink: ProgressSink) -> dict[str, Any]:
        result = restore_files.run(request, SystemClock(), sink)
        return {
            "changed": result.changed,
            "backup": summary.backup(result.backup),
            "restored_files": result.restored,
            "unchanged_files": result.unchanged,
        }

    owner = owner_of_new(request.destination, arguments.owner, cluster.data_directory)
    result = run_job(owner, repository, restore_files.THIRD_PARTY, task, TerminalSink(sys.stderr))
    if arguments.json:
        _print(json.dumps(result))
        return 0
    for path in result["restored_files"]:
        _print(str(request.destination / path))
    there = f", {len(result['unchanged_files'])} were there already" if result["unchanged_files"] else ""
    _print(f"{len(result['restored_files'])} files of {result['backup']['id']} restored{there}")
    return 0


def _restore(arguments: argparse.Namespace, cluster: ClusterSpec, repository: RepositorySpec) -> int:
    if arguments.file:
        return _restore_files(arguments, cluster, repository)
    from .jobs import summary
    from .jobs.restore import physical as restore

    request = replace(
        _restore_request(arguments, cluster, repository, arguments.destination.absolute()),
        port=arguments.port,
        socket_directory=arguments.socket_directory,
        delta=arguments.delta,
        keep_old=arguments.keep_old,
        standby=_standby(arguments, cluster),
        start=not arguments.no_start,
    )

    def task(sink: ProgressSink) -> dict[str, Any]:
        return summary.restore(restore.run(request, SystemClock(), Runner(), sink))

    owner = owner_of_new(request.data_directory, arguments.owner, cluster.data_directory)
    result = run_job(owner, repository, restore.THIRD_PARTY, task, TerminalSink(sys.stderr))
    if arguments.json:
        _print(json.dumps(result))
        return 0
    seconds = sum(phase["seconds"] for phase in result["phases"])
    done = f"{result['backup']['id']} is restored in {request.data_directory}, in {duration_text(seconds)}"
    _print(f"{done}; the server is {result['state']}" if request.start else f"{done}, ready to be started")
    if result["stopped_at"]:
        _print(f"  {result['stopped_at']}")
    if result["kept_old"]:
        _print(f"  what was there is kept in {result['kept_old']}")
    return 0


def _verify(arguments: argparse.Namespace, cluster: ClusterSpec, repository: RepositorySpec) -> int:
    from .jobs.verify import prove as verify
    from .jobs.verify import restoring as verify_restore

    scratch = arguments.scratch_directory.absolute()
    request = verify_restore.ScratchRequest(
        _restore_request(arguments, cluster, repository, scratch), scratch, cluster.connection.user
    )

    def task(sink: ProgressSink) -> dict[str, Any]:
        found = verify.run(arguments.level, request, SystemClock(), Runner(), sink)
        return {
            "ok": found.ok,
            "backup_id": found.backup_id,
            "isolation": found.isolation,
            "checks": [asdict(check) for check in found.checks],
        }

    owner = owner_of_new(scratch, arguments.owner, cluster.data_directory)
    result = run_job(owner, repository, verify_restore.THIRD_PARTY, task, TerminalSink(sys.stderr), may_mount=True)
    if arguments.json:
        _print(json.dumps(result))
    else:
        for check in result["checks"]:
            _print(f"{'good' if check['ok'] else 'BAD '}  {check['name']}: {check['evidence']}")
        _print(f"backup {result['backup_id']} is {'good' if result['ok'] else 'NOT good'}")
    return 0 if result["ok"] else 1


def _expire(arguments: argparse.Namespace, cluster: ClusterSpec, repository: RepositorySpec) -> int:
    from . import config, retention_policy
    from .jobs.repository import create as create_repository
    from .jobs.retention import elsewhere, expire
    from .jobs.retention import summary as expire_summary

    path = arguments.config or config.DEFAULT_PATH
    others = config.other_repositories(path, arguments.cluster, repository) if arguments.cluster else ()
    elsewhere.prepare(others)
    policy = retention_policy.parse(arguments.settings)
    request = expire.ExpireRequest(repository, cluster.stanza, policy, others)

    def task(sink: ProgressSink) -> dict[str, Any]:
        return expire_summary.values(expire.run(request, SystemClock(), sink, check_mode=arguments.dry_run))

    place = create_repository.directories(repository)[0]
    owner = owner_of_new(place, arguments.owner, cluster.data_directory)
    result = run_job(owner, repository, (), task, TerminalSink(sys.stderr))
    if arguments.json:
        _print(json.dumps(result))
        return 0
    for line in expire_summary.lines(result):
        _print(line)
    return 0


def _restore_point(arguments: argparse.Namespace, cluster: ClusterSpec, repository: RepositorySpec) -> int:
    from .jobs import summary
    from .jobs.restore import restore_point

    request = restore_point.PointRequest(cluster, repository, arguments.name, arguments.archive_wait)

    def task(sink: ProgressSink) -> dict[str, Any]:
        return summary.point(restore_point.run(request, SystemClock(), sink))

    owner = owner_for_cluster(cluster, repository)
    made = run_job(owner, repository, restore_point.THIRD_PARTY, task, TerminalSink(sys.stderr))
    where = f"{made['lsn']} on timeline {made['timeline']}, archived in {made['segment']}"
    _print(json.dumps(made) if arguments.json else f"restore point {made['name']} is at {where}")
    return 0


def _dump(arguments: argparse.Namespace, cluster: ClusterSpec, repository: RepositorySpec) -> int:
    from . import cli_dumps

    return cli_dumps.dump(arguments, cluster, repository)


def _restore_dump(arguments: argparse.Namespace, cluster: ClusterSpec, repository: RepositorySpec) -> int:
    from . import cli_dumps

    return cli_dumps.restore_dump(arguments, cluster, repository)


COMMANDS: dict[str, Command] = {
    "backup": _backup,
    "dump": _dump,
    "restore-dump": _restore_dump,
    "expire": _expire,
    "info": _info,
    "restore": _restore,
    "verify": _verify,
    "restore-point": _restore_point,
}


def run(arguments: argparse.Namespace, cluster: ClusterSpec, repository: RepositorySpec) -> int:
    """Run the job that was asked for; what of a database's URL is not used is said first."""
    for note in cluster.connection.notes:
        sys.stderr.write(f"lifeboat {arguments.command}: warning: {note}\n")
    return COMMANDS[arguments.command](arguments, cluster, repository)
