# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The on-host command `lifeboat`.

Everything but the option parser is imported when a command needs it: PostgreSQL starts
`archive-push` for every segment.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import cli_dump_options
from .errors import LifeboatError
from .version import VERSION

if TYPE_CHECKING:
    from .ports import ProgressSink
    from .specs import ArchiveSpec, ClusterSpec, RepositorySpec

# PostgreSQL takes a restore_command's status above 125 for fatal. Anything lower would mean "the
# archive ends here", and the server would open the database at that point.
STOP_RECOVERY = 200

# Whoever asks how things are and gets no answer has to take it for the worst.
_FAILURES = {"archive-fetch": STOP_RECOVERY, "status": 2}

_OPTIONS = (
    ("repository", "the repository: a path, s3://bucket/prefix, or the name of one of the cluster's"),
    ("key-file", "the file with the repository's key"),
    ("key-command", "a command that prints the repository's key, run without a shell"),
    ("passphrase-file", "the file with a passphrase that opens the repository"),
    ("s3-endpoint", "the URL of an S3 server other than AWS"),
    ("s3-region", "the bucket's region"),
    ("s3-path-style", "whether the bucket's name is in the path (true) or in the host name (false)"),
    ("s3-ca-file", "the authorities that may have signed the S3 server's certificate"),
    ("s3-profile", "the profile of AWS's configuration files to use"),
    ("s3-credentials-file", "the file with the access key and its secret"),
    ("stanza", "the cluster's name in the repository"),
    ("method", "how a backup gets at the cluster's files: files, or stream (by protocol)"),
    ("data-directory", "the server's data directory"),
    ("bin-dir", "the directory with PostgreSQL's programs"),
    ("login-host", "the server's host name or address"),
    ("login-port", "the server's port"),
    ("login-user", "the role to connect as"),
    ("login-unix-socket", "the directory of the server's socket"),
    ("login-db", "the database to connect to"),
)
_RECEIVING = (
    ("wal-method", "how WAL comes to the repository; a receiver needs stream, or both"),
    ("slot", "the replication slot (lifeboat_CLUSTER)"),
    ("partial-interval", "after how many seconds what has come of a segment is shipped (5; 0 for never)"),
    ("spool", "the directory for WAL that no repository has yet (/var/lib/lifeboat/CLUSTER)"),
    ("synchronous", "whether commits may wait for this receiver (false)"),
)
_CLASSES = ("manual", "scheduled", "pre_migration", "pre_restore")  # retention_policy.CLASSES, without importing it


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lifeboat",
        description="Back up, archive and restore PostgreSQL on this host.",
        epilog="A server's URL is taken from LIFEBOAT_DATABASE_URL, and a password from PGPASSWORD.",
        allow_abbrev=False,
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
    backup.add_argument("--class", dest="backup_class", choices=_CLASSES, default="manual", help="its class (manual)")
    backup.add_argument("--max-age", type=float, metavar="HOURS", help="do nothing if a backup is not older than this")
    _add_work_options(backup)

    info = commands.add_parser("info", parents=[common], help="list backups and archived WAL", allow_abbrev=False)
    info.add_argument("--json", action="store_true", help="print the result as JSON")

    status = commands.add_parser(
        "status",
        parents=[common],
        help="say whether everything is well: 0 it is, 1 warning, 2 critical",
        allow_abbrev=False,
    )
    status.add_argument("name", nargs="?", metavar="CLUSTER", help="one cluster of the configuration file (all)")
    status.add_argument("--json", action="store_true", help="print the result as JSON")
    status.set_defaults(run=_status)

    restore = commands.add_parser(
        "restore", parents=[common], help="restore a backup or a point in time", allow_abbrev=False
    )
    restore.add_argument(
        "--destination", type=Path, required=True, help="the data directory to be made, or where files go"
    )
    restore.add_argument("--owner", help="who shall own it, when this runs as root")
    restore.add_argument(
        "--file", action="append", metavar="PATH", help="only this file, directory or pattern; may be given again"
    )
    restore.add_argument("--delta", action="store_true", help="bring back the cluster that is there, in place")
    restore.add_argument("--port", type=int, help="the restored server's port")
    restore.add_argument("--socket-directory", type=Path, help="the directory of the restored server's socket")
    restore.add_argument("--keep-old", action="store_true", help="keep what is there under another name")
    restore.add_argument("--standby", action="store_true", help="make a standby that follows the original")
    restore.add_argument("--primary-conninfo", help="how the standby reaches it; by default by the --login options")
    restore.add_argument("--primary-slot-name", help="the replication slot of the standby")
    restore.add_argument(
        "--target-action", choices=("promote", "pause", "shutdown"), default="promote", help="what then (promote)"
    )
    restore.add_argument("--no-start", action="store_true", help="leave the directory ready to be started")
    _add_target_options(restore)
    _add_work_options(restore)

    verify = commands.add_parser("verify", parents=[common], help="prove that a backup is good", allow_abbrev=False)
    verify.add_argument("--level", choices=("content", "restore"), default="content", help="how (content)")
    verify.add_argument("--scratch-directory", type=Path, default=Path("/var/tmp"), help="where to restore (/var/tmp)")
    verify.add_argument("--owner", help="who shall run the scratch server, when this runs as root")
    _add_target_options(verify)
    _add_work_options(verify)

    expire = commands.add_parser(
        "expire",
        parents=[common],
        help="apply the retention policy and collect garbage; without a policy only the latter",
        allow_abbrev=False,
    )
    expire.add_argument("--keep-last", metavar="N[,CLASS=N]", help="how many of the newest backups to keep, by class")
    expire.add_argument("--keep-days", metavar="D[,CLASS=D]", help="for how many days to keep backups, by class")
    expire.add_argument("--keep-wal-days", metavar="D", help="to how old moments recovery must be possible")
    expire.add_argument("--grace-hours", metavar="H", help="how long what nobody needs stays before it is deleted (24)")
    expire.add_argument("--owner", help="who owns the repository's files, when this runs as root")
    expire.add_argument("--dry-run", action="store_true", help="say what would be done, and why, and do nothing")
    expire.add_argument("--json", action="store_true", help="print the result as JSON")

    point = commands.add_parser(
        "restore-point", parents=[common], help="make a named point to recover to", allow_abbrev=False
    )
    point.add_argument("name", help="its name")
    point.add_argument("--archive-wait", type=float, default=120, help="seconds until it must be archived (120)")
    point.add_argument("--json", action="store_true", help="print the result as JSON")
    dumps = cli_dump_options.add_commands(commands, common, _CLASSES)
    for job in (backup, info, restore, verify, expire, point, *dumps):
        job.set_defaults(run=_job)

    claim = commands.add_parser(
        "claim", parents=[common], help="say what a restored or upgraded cluster is, so that it may archive"
    )
    claim.add_argument(
        "what",
        choices=("timeline", "incarnation"),
        help="timeline: it takes the original's place; incarnation: it begins a life of its own, as after pg_upgrade",
    )
    claim.set_defaults(run=_claim)

    push = commands.add_parser(
        "archive-push", parents=[common], help="archive one WAL file (archive_command)", allow_abbrev=False
    )
    push.add_argument("path", type=Path, help="the file, as PostgreSQL gives it with %%p")
    push.add_argument("--incarnation", help="the cluster's incarnation, the one it has claimed unless given")
    push.set_defaults(run=_archive_push)

    pusher = commands.add_parser(
        "archive-pusher",
        parents=[common],
        help="archive whatever the server wants archived, until it ends (started by archive-push)",
        allow_abbrev=False,
    )
    pusher.add_argument("--jobs", type=int, default=2, help="how many files at a time (2)")
    pusher.add_argument("--greeting", default="", help=argparse.SUPPRESS)
    pusher.set_defaults(run=_archive_pusher)

    receive = commands.add_parser(
        "receive", parents=[common], help="receive WAL as it is written, until stopped (a service)", allow_abbrev=False
    )
    for name, text in _RECEIVING:
        receive.add_argument(f"--{name}", help=text)
    receive.add_argument("--jobs", type=int, default=2, help="how many files at a time (2)")
    receive.set_defaults(run=_receive)

    fetch = commands.add_parser(
        "archive-fetch", parents=[common], help="fetch one WAL file (restore_command)", allow_abbrev=False
    )
    fetch.add_argument("--incarnation", help="the cluster's incarnation, the present one unless given")
    fetch.set_defaults(run=_archive_fetch)
    fetcher = commands.add_parser(
        "archive-fetcher",
        parents=[common],
        help="fetch WAL ahead of a recovery, until it ends (started by archive-fetch)",
        allow_abbrev=False,
    )
    fetcher.add_argument("--incarnation", required=True, help="the cluster's incarnation")
    fetcher.add_argument("--jobs", type=int, default=2, help="how many files at a time (2)")
    fetcher.add_argument("--greeting", default="", help=argparse.SUPPRESS)
    fetcher.set_defaults(run=_archive_fetcher)
    fetch.add_argument("file_name", help="the file's name, as PostgreSQL gives it with %%f")
    fetch.add_argument("destination", type=Path, help="where to write it, as PostgreSQL gives it with %%p")
    return parser


def _add_target_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backup", default="latest", help="the backup's id (latest)")
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--target-time", help="the point in time, with its zone, or such as '2 hours ago'")
    target.add_argument("--target-lsn", help="the WAL location")
    target.add_argument("--target-xid", help="the transaction")
    target.add_argument("--target-name", help="the restore point; without a target, everything there is")
    target.add_argument("--target-immediate", action="store_true", help="the end of the backup")
    parser.add_argument("--target-exclusive", action="store_true", help="stop just before it")
    parser.add_argument("--target-timeline", default="latest", help="latest, current (the backup's own) or a number")


def _add_work_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=2, help="how many workers (2)")
    parser.add_argument("--max-rate", type=float, metavar="MB", help="at most this many megabytes a second")
    parser.add_argument("--low-priority", action="store_true", help="leave processor and disk to others")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _specs(arguments: argparse.Namespace) -> tuple[ClusterSpec, RepositorySpec]:
    from . import config
    from .connection_settings import from_environment
    from .receive_settings import RECEIVE_KEYS
    from .retention_policy import RETENTION_KEYS

    values: dict[str, str] = {}
    options = {*(name.replace("-", "_") for name, _text in _OPTIONS), *RETENTION_KEYS, *RECEIVE_KEYS}
    given = {name: value for name, value in vars(arguments).items() if name in options and value}
    given.update(from_environment(os.environ))
    if arguments.cluster:
        path = arguments.config or config.DEFAULT_PATH
        named = given.pop("repository", None) if _is_name(given.get("repository")) else None
        values = config.cluster_settings(config.read(path), path, arguments.cluster, named)
    arguments.settings = values = config.overlaid(values, given)
    return config.specs(arguments.cluster or arguments.stanza or "main", values, os.environ.get("PGPASSWORD"))


def _is_name(repository: str | None) -> bool:
    """Whether one of the configuration's repositories is meant, and not a path or URL."""
    return bool(repository) and "/" not in str(repository)


def _archive(arguments: argparse.Namespace) -> tuple[ClusterSpec, ArchiveSpec]:
    """Everywhere that a cluster's WAL goes; the one repository when that is given on the command line."""
    from . import config
    from .specs import ArchiveSpec, WalCopy

    cluster, repository = _specs(arguments)
    inline = ("repository", *config.REPOSITORY_KEYS)
    if arguments.cluster and not any(getattr(arguments, name, None) for name in inline):
        path = arguments.config or config.DEFAULT_PATH
        return cluster, config.archive_spec(config.read(path), path, arguments.cluster)
    return cluster, ArchiveSpec((WalCopy("main", repository),))


def _job(arguments: argparse.Namespace) -> int:
    from . import cli_jobs

    return cli_jobs.run(arguments, *_specs(arguments))


def _status(arguments: argparse.Namespace) -> int:
    from . import cli_status, config

    if arguments.name or not any((arguments.cluster, arguments.repository, arguments.stanza)):
        path = arguments.config or config.DEFAULT_PATH
        names = [arguments.name] if arguments.name else sorted(config.read(path).clusters)
        chosen = [argparse.Namespace(**{**vars(arguments), "cluster": name}) for name in names]
    else:
        chosen = [arguments]
    return cli_status.run([(each.cluster or each.stanza or "main", each) for each in chosen], _archive, arguments.json)


def _archive_push(arguments: argparse.Namespace) -> int:
    """All of it here and now; `foreground` comes here when there is no background to do it."""
    from .jobs.wal import archive

    cluster, spec = _archive(arguments)
    request = archive.ArchiveRequest(
        spec, cluster.stanza, arguments.path, _data_directory(arguments, cluster), arguments.incarnation
    )
    archive.push(request, _warn)
    return 0


def _warn(text: str) -> None:
    sys.stderr.write(f"lifeboat: warning: {text}\n")


def _data_directory(arguments: argparse.Namespace, cluster: ClusterSpec) -> Path:
    """PostgreSQL runs its commands in the data directory."""
    here = Path.cwd()
    in_server = not arguments.path.is_absolute() and (here / "global/pg_control").exists()
    return here if in_server or cluster.data_directory is None else cluster.data_directory


def _archive_pusher(arguments: argparse.Namespace) -> int:
    from . import config
    from .clock import SystemClock
    from .jobs.wal import pusher

    cluster, spec = _archive(arguments)
    request = pusher.PusherRequest(
        spec,
        cluster.stanza,
        cluster.data_directory or Path.cwd(),
        arguments.greeting,
        (arguments.config or config.DEFAULT_PATH) if arguments.cluster else None,
        arguments.jobs,
    )
    pusher.run(request, SystemClock())
    return 0


def _receive(arguments: argparse.Namespace) -> int:
    """In the foreground until a signal ends it; what it says goes to standard error, and so into the journal."""
    import threading

    from . import config
    from .clock import SystemClock
    from .jobs.receive import receiver as receive
    from .process import Runner
    from .report.job_file import open_job
    from .report.tee import Tee
    from .report.terminal import TerminalSink

    cluster, spec = _archive(arguments)
    stop = threading.Event()
    receive.stop_on_signals(stop)
    sink = Tee(TerminalSink(sys.stderr), open_job(f"receive-{cluster.name}"[:64].replace(" ", "_"), "receive"))
    given = [Path(sys.argv[0]), *([arguments.config or config.DEFAULT_PATH] if arguments.cluster else [])]
    receive.run(receive.ReceiveRequest(cluster, spec, arguments.jobs, given), SystemClock(), Runner(), sink, stop)
    return 0


def _archive_fetcher(arguments: argparse.Namespace) -> int:
    from .clock import SystemClock
    from .jobs.wal import prefetch

    cluster, repository = _specs(arguments)
    request = prefetch.PrefetchRequest(
        repository,
        cluster.stanza,
        arguments.incarnation,
        cluster.data_directory or Path.cwd(),
        arguments.greeting,
        arguments.jobs,
    )
    prefetch.run(request, SystemClock())
    return 0


def _claim(arguments: argparse.Namespace) -> int:
    from . import as_owner
    from .clock import SystemClock
    from .jobs.wal import claim
    from .report.terminal import TerminalSink

    cluster, spec = _archive(arguments)
    directory = cluster.data_directory or Path.cwd()

    def task(_sink: ProgressSink) -> dict[str, str]:
        return {"incarnation": claim.run(spec, cluster.stanza, directory, arguments.what, SystemClock())}

    owner = as_owner.owner_for(cluster.data_directory)
    done = as_owner.run_job(owner, spec.required[0].repository, (), task, TerminalSink(sys.stderr))
    sys.stdout.write(f"{directory} archives into the incarnation {done['incarnation']} of {cluster.stanza}\n")
    return 0


def _archive_fetch(arguments: argparse.Namespace) -> int:
    from .jobs.wal import fetch

    cluster, repository = _specs(arguments)
    found = fetch.fetch(
        fetch.FetchRequest(
            repository, cluster.stanza, arguments.file_name, arguments.destination, arguments.incarnation
        )
    )
    return 0 if found else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 only when it did what it says."""
    words = sys.argv[1:] if argv is None else argv
    command = words[0] if words else ""
    try:
        arguments = _parser().parse_args(words)
        run: Callable[[argparse.Namespace], int] = arguments.run
        return run(arguments)
    except LifeboatError as exc:
        sys.stderr.write(f"lifeboat {command}: error [{exc.code}]: {exc.message}\n")
    except SystemExit as exc:  # the parser has shown its help, or what is wrong with the options
        if not exc.code:
            return 0
    except Exception as exc:
        # An error nobody foresaw must not look like the end of the archive either.
        sys.stderr.write(f"lifeboat {command}: internal error: {type(exc).__name__}: {exc}\n")
    except KeyboardInterrupt:
        sys.stderr.write(f"lifeboat {command}: stopped\n")
    return _FAILURES.get(command, 1)
