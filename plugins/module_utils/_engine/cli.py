# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The on-host command `lifeboat`.

Everything but the option parser is imported when a command needs it: PostgreSQL starts
`archive-push` for every segment.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import LifeboatError
from .version import VERSION

if TYPE_CHECKING:
    from .specs import ClusterSpec, RepositorySpec

# PostgreSQL takes a restore_command's status above 125 for fatal. Anything lower would mean "the
# archive ends here", and the server would open the database at that point.
STOP_RECOVERY = 200

_OPTIONS = (
    ("repository", "the repository: a path, or s3://bucket/prefix"),
    ("key-file", "the file with the repository's key"),
    ("s3-endpoint", "the URL of an S3 server other than AWS"),
    ("s3-region", "the bucket's region"),
    ("s3-path-style", "whether the bucket's name is in the path (true) or in the host name (false)"),
    ("s3-ca-file", "the authorities that may have signed the S3 server's certificate"),
    ("s3-profile", "the profile of AWS's configuration files to use"),
    ("s3-credentials-file", "the file with the access key and its secret"),
    ("stanza", "the cluster's name in the repository"),
    ("data-directory", "the server's data directory"),
    ("bin-dir", "the directory with PostgreSQL's programs"),
    ("login-host", "the server's host name or address"),
    ("login-port", "the server's port"),
    ("login-user", "the role to connect as"),
    ("login-unix-socket", "the directory of the server's socket"),
    ("login-db", "the database to connect to"),
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lifeboat", description="Back up, archive and restore PostgreSQL on this host.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"lifeboat {VERSION}")
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--config", type=Path, help="the configuration file (/etc/lifeboat/lifeboat.conf)")
    common.add_argument("--cluster", help="a cluster of the configuration file; the options below win over it")
    for name, text in _OPTIONS:
        common.add_argument(f"--{name}", help=text)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    backup = commands.add_parser("backup", parents=[common], help="make a physical backup", allow_abbrev=False)
    backup.add_argument("--type", choices=("auto", "full", "incremental"), default="auto", help="what to make (auto)")
    backup.add_argument("--max-age", type=float, metavar="HOURS", help="do nothing if a backup is not older than this")
    backup.add_argument("--jobs", type=int, default=2, help="how many workers read and compress (2)")
    backup.add_argument("--json", action="store_true", help="print the result as JSON")
    backup.set_defaults(run=_backup)

    info = commands.add_parser("info", parents=[common], help="list backups and archived WAL", allow_abbrev=False)
    info.add_argument("--json", action="store_true", help="print the result as JSON")
    info.set_defaults(run=_info)

    push = commands.add_parser(
        "archive-push", parents=[common], help="archive one WAL file (archive_command)", allow_abbrev=False
    )
    push.add_argument("path", type=Path, help="the file, as PostgreSQL gives it with %%p")
    push.set_defaults(run=_archive_push)

    fetch = commands.add_parser(
        "archive-fetch", parents=[common], help="fetch one WAL file (restore_command)", allow_abbrev=False
    )
    fetch.add_argument("--incarnation", help="the cluster's incarnation, the present one unless given")
    fetch.add_argument("file_name", help="the file's name, as PostgreSQL gives it with %%f")
    fetch.add_argument("destination", type=Path, help="where to write it, as PostgreSQL gives it with %%p")
    fetch.set_defaults(run=_archive_fetch)
    return parser


def _specs(arguments: argparse.Namespace) -> tuple[ClusterSpec, RepositorySpec]:
    from . import config

    values: dict[str, str] = {}
    if arguments.cluster:
        path = arguments.config or config.DEFAULT_PATH
        values = config.cluster_settings(config.read(path), path, arguments.cluster)
    for name, _text in _OPTIONS:
        key = name.replace("-", "_")
        if getattr(arguments, key):
            values[key] = getattr(arguments, key)
    return config.specs(arguments.cluster or arguments.stanza or "main", values, os.environ.get("PGPASSWORD"))


def _backup(arguments: argparse.Namespace) -> int:
    from datetime import timedelta

    from .as_owner import owner_for, run_job
    from .clock import SystemClock
    from .jobs import backup, summary
    from .ports import ProgressSink
    from .report.terminal import TerminalSink
    from .report.wording import size_text

    cluster, repository = _specs(arguments)
    request = backup.BackupRequest(
        cluster,
        repository,
        backup_type=arguments.type,
        max_age=timedelta(hours=arguments.max_age) if arguments.max_age is not None else None,
        jobs=arguments.jobs,
    )

    def task(sink: ProgressSink) -> dict[str, Any]:
        result = backup.run(request, SystemClock(), sink)
        return {"changed": result.changed, "backup": summary.backup(result.backup) if result.backup else None}

    result = run_job(owner_for(cluster.data_directory), repository, backup.THIRD_PARTY, task, TerminalSink(sys.stderr))
    made = result["backup"]
    if arguments.json:
        _print(json.dumps(result))
    elif result["changed"]:
        _print(f"backup {made['id']}: {size_text(made['bytes'])} stored in {size_text(made['stored_bytes'])}")
    else:
        _print(f"backup {made['id']} is young enough; nothing to do")
    return 0


def _info(arguments: argparse.Namespace) -> int:
    from .jobs import info, summary
    from .report.wording import size_text

    cluster, repository = _specs(arguments)
    found = summary.info(info.read(repository, cluster.stanza))
    if arguments.json:
        _print(json.dumps(found))
        return 0
    _print(f"{found['stanza']} in {found['repository']}")
    _print(f"  WAL: {found['wal']['segments']} segments, newest {found['wal']['last'] or 'none'}")
    for backup, window in zip(found["backups"], found["windows"]):
        gap = f", WAL missing from {window['missing_segments'][0]}" if window["missing_segments"] else ""
        _print(f"  {backup['id']}  {size_text(backup['bytes'])}  recoverable from {window['earliest']}{gap}")
    if not found["backups"]:
        _print("  no backups")
    return 0


def _archive_push(arguments: argparse.Namespace) -> int:
    from .jobs import archive

    cluster, repository = _specs(arguments)
    archive.push(archive.ArchiveRequest(repository, cluster.stanza, arguments.path))
    return 0


def _archive_fetch(arguments: argparse.Namespace) -> int:
    from .jobs import fetch

    cluster, repository = _specs(arguments)
    found = fetch.fetch(
        fetch.FetchRequest(
            repository, cluster.stanza, arguments.file_name, arguments.destination, arguments.incarnation
        )
    )
    return 0 if found else 1


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 only when it did what it says."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run(arguments)
    except LifeboatError as exc:
        sys.stderr.write(f"lifeboat {arguments.command}: error [{exc.code}]: {exc.message}\n")
    except Exception as exc:
        # An error nobody foresaw must not look like the end of the archive either.
        sys.stderr.write(f"lifeboat {arguments.command}: internal error: {type(exc).__name__}: {exc}\n")
    except KeyboardInterrupt:
        sys.stderr.write(f"lifeboat {arguments.command}: stopped\n")
    return STOP_RECOVERY if arguments.command == "archive-fetch" else 1
