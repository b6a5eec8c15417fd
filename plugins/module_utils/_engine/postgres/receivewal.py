# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's own pg_receivewal: how it is called, and what keeps commits from waiting for it in vain."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ExternalToolError, LifeboatError, PreconditionError, StorageError
from ..receive_settings import ReceiveSpec
from ..specs import ConnectionSpec
from .connection import Connection, connect_options
from .programs import Programs

_COUNT = re.compile(r"(?:(?:FIRST|ANY)\s+)?\d+\s*\((?P<names>.*)\)\s*", re.IGNORECASE | re.DOTALL)
_REMOVED = "has already been removed"
_FULL = ("No space left on device", "Disk quota exceeded")
_IN_USE = "is active for PID"


def addressed(spec: ConnectionSpec, data_directory: Path | None) -> ConnectionSpec:
    """The same server, its address written out: the replication protocol's sessions look into no data directory."""
    options = connect_options(spec, data_directory)
    return replace(spec, host=options.get("host"), port=options.get("port"), socket_directory=None)


@dataclass(frozen=True)
class Command:
    """A command line, and what is told by environment because others could read it."""

    argv: Sequence[str]
    environment: Mapping[str, str]


def command(programs: Programs, spec: ConnectionSpec, receive: ReceiveSpec, folder: Path) -> Command:
    """The program for one connection: when that is lost it ends, and whoever started it looks who is there now."""
    options = {**connect_options(spec, None), "application_name": receive.slot}
    password = options.pop("password", None)
    del options["dbname"]
    argv = [programs.path("pg_receivewal"), f"--directory={folder}", f"--slot={receive.slot}", "--no-loop"]
    argv += ["--no-password", "--verbose", "--status-interval=5"]
    argv += ["--synchronous"] if receive.synchronous else []
    argv.append("--dbname=" + " ".join(f"{name}={_quoted(value)}" for name, value in options.items()))
    return Command(argv, {"PGPASSWORD": password} if password else {})


def _quoted(value: object) -> str:
    """As libpq reads it."""
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


def ended(log: Path) -> LifeboatError:
    """Why it has ended, by what it has said."""
    attempted = "receiving WAL with pg_receivewal"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    said = " ".join(line.partition("pg_receivewal: ")[2] or line for line in lines[-3:]) or "it said nothing"
    if _REMOVED in said:
        return PreconditionError(
            attempted,
            f"the server does not have the WAL that comes next any more ({said}).",
            "The receiver goes on behind the gap and names it.",
            code="wal_removed_by_server",
        )
    if any(phrase in said for phrase in _FULL):
        return StorageError(
            attempted,
            f"the disk of the spool is full ({said}).",
            "Make room there, or see why a repository does not take WAL. Nothing is lost as long as the slot holds it.",
            code="spool_full",
        )
    if _IN_USE in said:
        return PreconditionError(
            attempted,
            f"the slot is in use ({said}).",
            "Another receiver runs, or the server has not noticed yet that the last one is gone.",
            code="slot_in_use",
        )
    return ExternalToolError(
        attempted, f"it ended: {said}.", "It is started again once the server answers.", code="receiver_disconnected"
    )


@dataclass(frozen=True)
class SynchronousSettings:
    """What the server's commits wait for."""

    names: str  # synchronous_standby_names
    remote_apply: bool  # as the default, or for any role or database


def synchronous_settings(connection: Connection) -> SynchronousSettings:
    """Read them."""
    query = """
        SELECT current_setting('synchronous_standby_names'),
               current_setting('synchronous_commit') = 'remote_apply'
               OR EXISTS (SELECT FROM pg_db_role_setting WHERE 'synchronous_commit=remote_apply' = ANY (setconfig))
    """
    return SynchronousSettings(*connection.row("asking whom the server's commits wait for", query))


def is_waited_for(names: str, application_name: str) -> bool:
    """Whether `synchronous_standby_names` covers a standby with this name."""
    match = _COUNT.fullmatch(names.strip())
    listed = (match["names"] if match else names).split(",")
    return any(_plain(each) in ("*", application_name.lower()) for each in listed)


def _plain(name: str) -> str:
    name = name.strip()
    return name[1:-1].replace('""', '"').lower() if name.startswith('"') else name.lower()


def hanging_commits(settings: SynchronousSettings, receive: ReceiveSpec) -> PreconditionError | None:
    """What would let the server's commits wait for ever, or for the end of a segment; None when nothing does."""
    if not is_waited_for(settings.names, receive.slot):
        return None
    attempted = f"preparing to receive WAL as {receive.slot}"
    listed = f"synchronous_standby_names is {settings.names!r}, so the server's commits wait for this receiver"
    if not receive.synchronous:
        return PreconditionError(
            attempted,
            f"{listed}, which does not write through before a segment is full.",
            "Set synchronous: true for this cluster, or name standbys there that this receiver is none of.",
            code="receiver_would_hang_commits",
        )
    if settings.remote_apply:
        return PreconditionError(
            attempted,
            f"{listed}, and synchronous_commit is remote_apply, but a receiver applies nothing: they wait for ever.",
            "Set synchronous_commit to on or remote_write, for every role and database too.",
            code="receiver_would_hang_commits",
        )
    return None
