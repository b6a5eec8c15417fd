# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a dump back that somebody's own script has made, from no repository: SQL or an archive of pg_dump.

What the file is, and what it is compressed and encrypted with, its content says. It streams through this process. All
of it must have been whole before what was restored counts: else the database that was made for it goes again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...clock import Clock
from ...errors import IntegrityError, PreconditionError, UnsupportedError
from ...ports import ProgressSink
from ...postgres import client_programs, database_properties
from ...postgres.connection import connect
from ...postgres.dump_tools import DumpTools
from ...priority import yield_to_others
from ...process import Runner
from ...report.events import PhaseStarted
from ...report.phases import PhaseTime, PhaseTimer
from ...sources.foreign.description import ARCHIVE, ARCHIVE_DIRECTORY, ARCHIVE_TAR, SQL, Description
from ...sources.foreign.dump_ends import Ends
from ...sources.tally import ByteTally
from ...specs import ConnectionSpec
from ..foreign import files
from .database_swap import Target

THIRD_PARTY = ("psycopg", "psycopg.sql", "zstandard", "cryptography.hazmat.primitives.ciphers")
_RESTORABLE = (SQL, ARCHIVE, ARCHIVE_TAR, ARCHIVE_DIRECTORY)


@dataclass(frozen=True)
class FileRestoreRequest:
    """What the user wants."""

    connection: ConnectionSpec
    path: Path
    target: str | None
    data_directory: Path | None = None
    bin_directory: Path | None = None
    passphrase: str | None = field(default=None, repr=False)
    tables: tuple[str, ...] = ()  # of an SQL dump
    if_exists: str = "fail"
    content: str = "all"
    no_owner: bool = False
    no_privileges: bool = False
    single_transaction: bool = False
    low_priority: bool = False


@dataclass(frozen=True)
class FileRestoreResult:
    """What was done, or (in check mode) would be."""

    description: Description
    target: str
    kept_old: str | None = None
    phases: list[PhaseTime] = field(default_factory=list)


def run(
    request: FileRestoreRequest, clock: Clock, runner: Runner, sink: ProgressSink, *, check_mode: bool = False
) -> FileRestoreResult:
    """Find out what it is, check everything, then restore into a database and, where it replaces one, swap the two."""
    if request.low_priority:
        yield_to_others(sink)
    if not request.target:
        raise PreconditionError(
            f"restoring {request.path}",
            "nothing says into which database.",
            "Set target_database.",
            code="setting_missing",
            setting="target_database",
        )
    timer = PhaseTimer(sink, clock)
    timer.emit(PhaseStarted("checking", str(request.path)))
    unlocking = files.Unlocking(request.passphrase)
    description = files.describe(request.path, runner, unlocking)
    _require_restorable(request, description)
    if description.payload.kind == SQL and request.tables:
        tables = files.TablesOfDump(request.path, runner, unlocking, request.tables)
    else:
        tables = None
    with connect(request.connection, request.data_directory) as connection:
        version = int(connection.row("asking the server for its version", "SHOW server_version_num")[0])
        programs = client_programs.find(version // 10000, request.bin_directory, request.data_directory, runner)
        target = Target(connection, request.target, request.if_exists, clock)
        target.require_possible()
        if check_mode:
            return FileRestoreResult(description, request.target)
        tools = DumpTools(programs, request.connection, request.data_directory, runner)
        properties = (
            _properties(request, target.name) if target.exists else {}
        )  # a dump in a file says nothing of its database
        try:
            target.prepare(properties, no_owner=False, no_privileges=False)
            timer.emit(PhaseStarted("restoring", str(request.path)))
            _Filling(request, runner, tools, description, tables, timer).fill(target.working_name)
            if target.replaces:
                timer.emit(PhaseStarted("replacing", request.target))
            kept = target.finish()
        except BaseException:
            target.give_up()
            raise
    return FileRestoreResult(description, request.target, kept, timer.times())


def _properties(request: FileRestoreRequest, database: str) -> dict[str, Any]:
    """Those of the database that is there, for the one that takes its place."""
    with connect(replace(request.connection, database=database), request.data_directory) as connection:
        return database_properties.read(connection)


def _require_restorable(request: FileRestoreRequest, description: Description) -> None:
    attempted, payload = f"restoring {request.path}", description.payload
    if description.is_encrypted and request.passphrase is None:
        raise PreconditionError(
            attempted,
            "it is encrypted, and no passphrase was given.",
            "Give the passphrase that it was encrypted with (file_passphrase).",
            code="foreign_passphrase_missing",
        )
    if payload.kind not in _RESTORABLE:
        raise UnsupportedError(
            attempted,
            f"its content is {payload.kind}, no dump.",
            "Give an SQL script or what pg_dump wrote.",
            code="file_is_no_dump",
            kind=payload.kind,
        )
    if payload.of_cluster and not request.tables:
        raise UnsupportedError(
            attempted,
            "it is a dump of a whole cluster, which makes its own databases and roles.",
            "Run it with psql on an empty server, or choose tables of it.",
            code="dump_of_a_cluster",
        )
    chosen = [name for name in ("no_owner", "no_privileges") if getattr(request, name)]
    chosen += [f"content: {request.content}"] if request.content != "all" else []
    if payload.kind == SQL and chosen and not request.tables:
        raise PreconditionError(
            attempted,
            f"it is SQL, which runs as it is: nothing can be left out of it ({', '.join(chosen)}).",
            "Leave these options out, or choose tables of it.",
            code="form_unsupported",
        )
    if payload.kind != SQL and request.tables:
        raise PreconditionError(
            attempted,
            "tables can be chosen of SQL dumps only; it is an archive of pg_dump.",
            "Restore all of it into a database of its own, and take the tables from there.",
            code="form_unsupported",
        )


class _Filling:
    """A file on its way into a database."""

    def __init__(
        self,
        request: FileRestoreRequest,
        runner: Runner,
        tools: DumpTools,
        description: Description,
        tables: files.TablesOfDump | None,
        sink: ProgressSink,
    ) -> None:
        self._request = request
        self._runner = runner
        self._tools = tools
        self._kind = description.payload.kind
        self._tables = tables
        self._tally = ByteTally(sink, 0)

    def fill(self, database: str) -> None:
        """Everything that is wanted of it."""
        request = self._request
        together = ["--single-transaction"] if request.single_transaction else []
        if self._tables is not None:
            options = files.Options(
                schema=request.content != "data",
                data=request.content != "schema",
                owner=not request.no_owner,
                privileges=not request.no_privileges,
            )
            self._tools.execute(database, together, self._counted(self._tables.script(options)))
        elif self._kind == SQL:
            self._tools.execute(database, together, self._counted(self._whole_script()))
        else:
            chosen = [
                *together,
                *([f"--{request.content}-only"] if request.content != "all" else []),
                *(["--no-owner"] if request.no_owner else []),
                *(["--no-privileges"] if request.no_privileges else []),
            ]
            if self._kind == ARCHIVE_DIRECTORY:
                self._tools.restore_file(database, chosen, request.path)
            else:
                self._tools.restore(database, chosen, self._counted(self._pieces()))

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._tally.add(len(piece))
            yield piece

    def _pieces(self) -> Iterator[bytes]:
        attempted = f"restoring {self._request.path}"
        with files.opened(
            self._request.path, self._runner, files.Unlocking(self._request.passphrase), attempted
        ) as file:
            yield from file.pieces

    def _whole_script(self) -> Iterator[bytes]:
        """A dump that was cut off looks like a shorter one, but for its last line."""
        ends = Ends(self._pieces())
        yield from ends
        if ends.is_complete is False:
            raise IntegrityError(
                f"restoring {self._request.path}",
                "it breaks off: the line that pg_dump ends with is not there.",
                "Find out why the dump was not finished (often a full disk), and restore an older one.",
                code="dump_truncated",
            )
