# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a database of a logical backup back: into a new database, into one that is there, or in the place of one.

What is to replace a database is restored beside it and takes its name at the end, in a moment. A database that was
made for a restore that fails is removed again.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...clock import Clock
from ...errors import IntegrityError, PreconditionError
from ...ports import ProgressSink
from ...postgres import client_programs
from ...postgres.connection import Connection, connect
from ...postgres.dump_tools import DumpTools
from ...priority import yield_to_others
from ...process import Runner
from ...report.events import PhaseStarted, Warned
from ...report.phases import PhaseTime, PhaseTimer
from ...repository.access import stanza_of
from ...repository.manifest import FileEntry, Member, SetHeader
from ...repository.stanza import Stanza
from ...sources.file_reader import FileReader
from ...sources.tally import ByteTally
from ...specs import ClusterSpec, RepositorySpec
from .database_swap import IF_EXISTS, Target
from .missing_roles import create_missing, needed_by

KIND = "logical"
LATEST = "latest"
THIRD_PARTY = ("psycopg", "psycopg.sql", "numpy", "xxhash")
MISSING_ROLES = ("fail", "create")
CONTENTS = ("all", "schema", "data")


@dataclass(frozen=True)
class LogicalRestoreRequest:
    """What the user wants."""

    cluster: ClusterSpec
    repository: RepositorySpec
    backup: str = LATEST
    database: str | None = None  # of the backup's; the only one, where nothing is said
    target: str | None = None  # its own name
    if_exists: str = "fail"
    content: str = "all"
    no_owner: bool = False
    no_privileges: bool = False
    missing_roles: str = "fail"
    disable_triggers: bool = False
    single_transaction: bool = False
    jobs: int = 1
    low_priority: bool = False

    def options(self) -> list[str]:
        """For pg_restore."""
        return [
            *([f"--{self.content}-only"] if self.content != "all" else []),
            *(["--no-owner"] if self.no_owner else []),
            *(["--no-privileges"] if self.no_privileges else []),
            *(["--disable-triggers"] if self.disable_triggers else []),
            *(["--single-transaction"] if self.single_transaction else []),
        ]


@dataclass(frozen=True)
class LogicalRestoreResult:
    """What was done, or (in check mode) would be."""

    backup: SetHeader
    database: str
    target: str
    as_of: str
    kept_old: str | None = None
    created_roles: list[str] = field(default_factory=list)
    phases: list[PhaseTime] = field(default_factory=list)


def run(
    request: LogicalRestoreRequest, clock: Clock, runner: Runner, sink: ProgressSink, *, check_mode: bool = False
) -> LogicalRestoreResult:
    """Check everything, then restore into a database and, where it replaces one, swap the two."""
    if request.low_priority:
        yield_to_others(sink)
    _require_sense(request)
    timer = PhaseTimer(sink, clock)
    timer.emit(PhaseStarted("checking", "backup, server and database"))
    stanza = stanza_of(request.repository, request.cluster.stanza)
    header, member = choose(stanza, request.backup, request.database)
    _require_possible_form(request, member)
    cluster = request.cluster
    name = request.target or member.name
    with connect(cluster.connection, cluster.data_directory) as connection:
        version = int(connection.row("asking the server for its version", "SHOW server_version_num")[0])
        major = max(version, header.server_version) // 10000
        programs = client_programs.find(major, cluster.bin_directory, cluster.data_directory, runner)
        target = Target(connection, name, request.if_exists, clock)
        target.require_possible()
        if check_mode:
            return LogicalRestoreResult(header, member.name, name, member.as_of)
        tools = DumpTools(programs, cluster.connection, cluster.data_directory, runner)
        restore = _Restore(request, stanza, header, member, tools, timer)
        created = restore.make_roles(connection) if request.missing_roles == "create" else []
        timer.emit(PhaseStarted("creating", target.working_name))
        try:
            unknown = target.prepare(member.properties, no_owner=request.no_owner, no_privileges=request.no_privileges)
            if unknown:
                lost = ", ".join(dict.fromkeys(unknown))
                timer.emit(Warned(f"roles that are not there get no privileges on the database itself: {lost}"))
            timer.emit(PhaseStarted("restoring", f"{member.name} as of {member.as_of}"))
            restore.fill(target.working_name)
            if target.replaces:
                timer.emit(PhaseStarted("replacing", name))
            kept = target.finish()
        except BaseException:
            target.give_up()
            raise
    return LogicalRestoreResult(header, member.name, name, member.as_of, kept, created, timer.times())


def choose(stanza: Stanza, backup: str, database: str | None) -> tuple[SetHeader, Member]:
    """The backup that is asked for, or the newest that has the database, and the database in it."""
    attempted = f"choosing a logical backup of {stanza.name}"
    if backup == LATEST:
        headers = stanza.sets(KIND)[::-1]
    else:
        header = stanza.any_header(backup)
        if not isinstance(header, SetHeader) or header.kind != KIND:
            raise stanza.of_other_kind(header, KIND)
        headers = [header]
    if not headers:
        raise PreconditionError(
            attempted,
            "there is none.",
            "Make one first with the module pg_backup and kind: logical.",
            code="no_backup",
        )
    for header in headers:
        there = [member for member in header.members if member.kind == "database"]
        matching = [member for member in there if database in (None, member.name)]
        if len(matching) == 1:
            return header, matching[0]
        if matching:
            raise PreconditionError(
                attempted,
                f"{header.backup_id} holds {len(matching)} databases: {', '.join(each.name for each in matching)}.",
                "Say with database which one is meant.",
                code="database_ambiguous",
            )
    known = sorted({member.name for header in headers for member in header.members if member.kind == "database"})
    raise PreconditionError(
        attempted,
        f"none holds the database {database}; there are {', '.join(known) or 'none'}.",
        "Correct database, or choose another backup.",
        code="database_not_in_backup",
        database=database,
    )


def _require_sense(request: LogicalRestoreRequest) -> None:
    happened = ""
    if request.if_exists not in IF_EXISTS:
        happened = f"if_exists is {request.if_exists}, which is none of {', '.join(IF_EXISTS)}."
    elif request.jobs < 1:
        happened = f"there shall be {request.jobs} jobs."
    elif request.jobs > 1 and request.single_transaction:
        happened = "several jobs cannot share a single transaction."
    elif request.disable_triggers and request.content != "data":
        happened = "triggers can only be disabled where only data is restored: before that there are none."
    if happened:
        raise PreconditionError("preparing the restore", happened, "Give one or the other.", code="setting_invalid")


def _require_possible_form(request: LogicalRestoreRequest, member: Member) -> None:
    """SQL is run as it is."""
    chosen = [*request.options(), *(["--jobs"] if request.jobs > 1 else [])]
    chosen = [option for option in chosen if option != "--single-transaction"]
    if member.form == "plain" and chosen:
        raise PreconditionError(
            "preparing the restore",
            f"{member.name} was dumped as plain SQL, of which nothing can be left out ({', '.join(chosen)}).",
            "Leave these options out, or choose a backup in the custom format.",
            code="form_unsupported",
        )


class _Restore:
    """One database's dump on its way into a server."""

    def __init__(
        self,
        request: LogicalRestoreRequest,
        stanza: Stanza,
        header: SetHeader,
        member: Member,
        tools: DumpTools,
        sink: ProgressSink,
    ) -> None:
        self._request = request
        self._stanza = stanza
        self._header = header
        self._member = member
        self._tools = tools
        self._sink = sink

    def make_roles(self, connection: Connection) -> list[str]:
        """Create what the dump needs and the server lacks."""
        roles = [member for member in self._header.members if member.kind == "globals"]
        if not roles:
            raise PreconditionError(
                "creating roles that the dump needs",
                f"{self._header.backup_id} was made without roles and tablespaces.",
                "Create the roles by hand, leave owners and privileges out (no_owner, no_privileges), or choose another"
                " backup.",
                code="roles_not_in_backup",
            )
        self._sink.emit(PhaseStarted("creating roles"))
        script = b"".join(self._content(roles[0].paths)).decode()
        return create_missing(connection, script, self._roles_needed())

    def _roles_needed(self) -> set[str]:
        found: set[str] = {self._member.properties["owner"]} if "owner" in self._member.properties else set()
        dump = self._content(self._member.paths)
        pieces = self._tools.script(["--schema-only"], dump) if self._member.form == "custom" else dump
        for line in _lines(pieces):
            found |= needed_by(line)
        return found

    def fill(self, database: str) -> None:
        """Everything that is wanted of the dump, into the database."""
        options, paths = self._request.options(), self._member.paths
        if self._member.form == "plain":
            self._tools.execute(database, options, self._counted(paths))
        elif self._request.jobs == 1:
            self._tools.restore(database, options, self._counted(paths))
        else:  # several processes must each find their place in it
            with self._on_disk(paths) as path:
                self._tools.restore_file(database, [*options, f"--jobs={self._request.jobs}"], path)

    @contextlib.contextmanager
    def _on_disk(self, paths: Sequence[str]) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="lifeboat-") as folder:
            path = Path(folder, "dump")
            needed, free = sum(entry.size for entry in self._entries(paths)), shutil.disk_usage(folder).free
            if needed > free:
                raise PreconditionError(
                    f"restoring with {self._request.jobs} jobs",
                    f"for that the dump must lie in {folder}, and its {needed} bytes do not fit into the {free} there.",
                    "Let jobs be 1, which needs no space here, or set TMPDIR to a directory with more of it.",
                    code="not_enough_space",
                )
            with path.open("xb", buffering=0) as file:
                path.chmod(0o600)
                for piece in self._counted(paths):
                    file.write(piece)
            yield path

    def _counted(self, paths: Sequence[str]) -> Iterator[bytes]:
        tally = ByteTally(self._sink, sum(entry.size for entry in self._entries(paths)))
        for piece in self._content(paths):
            tally.add(len(piece))
            yield piece

    def _content(self, paths: Sequence[str]) -> Iterator[bytes]:
        reader = FileReader(self._stanza, self._header.generation, 1)
        for entry in self._entries(paths):
            for piece in reader.pieces(entry):
                yield bytes(piece)

    def _entries(self, paths: Iterable[str]) -> list[FileEntry]:
        entries = (entry for entry in self._stanza.entries(self._header.backup_id) if isinstance(entry, FileEntry))
        there = {entry.path: entry for entry in entries}
        missing = [path for path in paths if path not in there]
        if missing:
            raise IntegrityError(
                f"reading the backup {self._header.backup_id}",
                f"its manifest does not list {missing[0]}.",
                "Choose another backup, and report this.",
                code="manifest_incomplete",
            )
        return [there[path] for path in paths]


def _lines(pieces: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")
    if rest:
        yield rest.decode("utf-8", "replace")
