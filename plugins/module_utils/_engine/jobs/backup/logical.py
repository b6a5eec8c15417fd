# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ensure that a logical backup exists: pg_dump's view of databases, with the roles that they need.

Each database is dumped at a moment of its own, which is noted: PostgreSQL has no snapshot of several. What pg_dump
writes goes through this process into the repository, compressed and encrypted, and never to this host's disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import timedelta
from urllib.parse import quote

from ...clock import Clock, parse_utc, utc_text
from ...dump_selection import FORMS, Selection
from ...errors import PreconditionError, UnsupportedError
from ...ports import ProgressSink
from ...postgres import client_programs, database_properties, databases
from ...postgres.connection import Connection, connect
from ...postgres.databases import Database
from ...postgres.dump_tools import DumpTools
from ...priority import yield_to_others
from ...process import Runner
from ...report.events import PhaseStarted, Warned
from ...repository.access import stanza_of
from ...repository.compression import STORED
from ...repository.digests import Digester
from ...repository.manifest import FileEntry, Member, SetHeader, render_entry
from ...repository.stanza import Stanza
from ...retention_policy import DEFAULT_CLASS
from ...sources import stream_file
from ...sources.tally import ByteTally
from ...specs import ClusterSpec, RepositorySpec
from ...version import VERSION
from .claim import Claim
from .packs import Packs, new_prefix
from .policy import Decision, new_id

KIND = "logical"
THIRD_PARTY = ("psycopg", "psycopg.sql", "numpy", "xxhash")
COMPRESSIONS = ("zstd", "gzip", "lz4", "none")
GLOBALS = "globals"
_LZ4_SINCE = 16
# The smaller a database, the more time there is for each byte.
_LEVELS = ((32 << 20, 19), (512 << 20, 9), (20 << 30, 3))
_LEVEL_OF_LARGE = 1
_PROGRAM_LEVELS = {"gzip": 6, "lz4": 1}


@dataclass(frozen=True)
class LogicalRequest:
    """What the user wants."""

    cluster: ClusterSpec
    repository: RepositorySpec
    databases: tuple[str, ...] = ()  # all of them
    form: str = "custom"
    selection: Selection = Selection()
    globals: bool = True
    compression: str = "zstd"
    compression_level: int | None = None  # by the database's size
    max_age: timedelta | None = None
    max_rate: float | None = None
    low_priority: bool = False
    backup_class: str = DEFAULT_CLASS
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LogicalResult:
    """What was done, or (in check mode) would be."""

    changed: bool
    backup: SetHeader | None
    databases: list[str]


def level_for(size: int) -> int:
    """The zstd level for a database of so many bytes."""
    return next((level for limit, level in _LEVELS if size <= limit), _LEVEL_OF_LARGE)


def run(
    request: LogicalRequest, clock: Clock, runner: Runner, sink: ProgressSink, *, check_mode: bool = False
) -> LogicalResult:
    """Check, decide, and unless a young enough backup of the same databases exists make one."""
    if request.low_priority:
        yield_to_others(sink)
    _require_sense(request)
    sink.emit(PhaseStarted("checking", "server, databases and repository"))
    cluster = request.cluster
    stanza = stanza_of(request.repository, cluster.stanza)
    with connect(cluster.connection, cluster.data_directory) as connection:
        server = _inspect(connection, request)
    programs = client_programs.find(server.version // 10000, cluster.bin_directory, cluster.data_directory, runner)
    _require_compression(request, programs.major)
    names = [database.name for database in server.databases]
    young = _young_enough(stanza, request, server, clock)
    if young is not None:
        return LogicalResult(False, young, names)
    if check_mode:
        return LogicalResult(True, None, names)
    tools = DumpTools(programs, cluster.connection, cluster.data_directory, runner)
    return LogicalResult(True, _Dump(request, stanza, tools, server, clock, sink).make(), names)


@dataclass(frozen=True)
class _Server:
    """What must be known of it before anything is dumped."""

    version: int
    databases: list[Database]
    role_is_superuser: bool


def _inspect(connection: Connection, request: LogicalRequest) -> _Server:
    version, is_superuser = connection.row(
        "asking the server who it is",
        "SELECT current_setting('server_version_num')::int, rolsuper FROM pg_roles WHERE rolname = current_user",
    )
    return _Server(version, databases.chosen(connection, request.databases), is_superuser)


def _require_sense(request: LogicalRequest) -> None:
    happened = ""
    if request.form not in FORMS:
        happened = f"the format {request.form} is none of {', '.join(FORMS)}."
    elif request.compression not in COMPRESSIONS:
        happened = f"the compression {request.compression} is none of {', '.join(COMPRESSIONS)}."
    elif request.compression == "none" and request.compression_level is not None:
        happened = "a compression level is given, and no compression."
    elif request.form == "plain" and request.compression == "lz4":
        happened = "SQL that is compressed with lz4 can be read by few programs."
    if happened:
        raise PreconditionError(
            "preparing the dump",
            happened,
            "Correct the options; left out they are chosen for you.",
            code="setting_invalid",
        )


def _require_compression(request: LogicalRequest, major: int) -> None:
    if request.compression == "lz4" and major < _LZ4_SINCE:
        raise UnsupportedError(
            "preparing the dump",
            f"pg_dump of PostgreSQL {major} cannot compress with lz4.",
            f"Use zstd, with which the repository compresses, or client programs of PostgreSQL {_LZ4_SINCE} or newer.",
            code="compression_unsupported",
        )


def _young_enough(stanza: Stanza, request: LogicalRequest, server: _Server, clock: Clock) -> SetHeader | None:
    """The newest backup, if it has all that is asked for and is young enough."""
    if request.max_age is None:
        return None
    wanted = {("database", each.name) for each in server.databases} | ({(GLOBALS, "")} if request.globals else set())
    for header in reversed(stanza.sets(KIND)):
        if clock.now() - parse_utc(header.finished) > request.max_age:
            return None
        chosen = request.selection.given()
        has = {(each.kind, each.name) for each in header.members if each.kind == GLOBALS or each.options == chosen}
        if wanted <= has:
            return header
    return None


class _Dump:
    """One logical backup, from its intent to its manifest."""

    def __init__(
        self,
        request: LogicalRequest,
        stanza: Stanza,
        tools: DumpTools,
        server: _Server,
        clock: Clock,
        sink: ProgressSink,
    ) -> None:
        self._request = request
        self._stanza = stanza
        self._tools = tools
        self._server = server
        self._clock = clock
        self._sink = sink
        self._tally = ByteTally(sink, 0, request.max_rate, clock)
        self._digester = Digester(stanza.repository.keys.digest_seed)
        self._entries: list[FileEntry] = []
        self._members: list[Member] = []

    def make(self) -> SetHeader:
        """Dump everything, then publish the manifest."""
        started, stanza = self._clock.now(), self._stanza
        newest = max(stanza.backup_ids(), default="")
        backup_id, prefix = new_id(newest, "dump", started), new_prefix()
        claim = Claim(stanza, "", Decision("full", None, newest), backup_id, prefix, self._clock, KIND)
        written: list[Packs] = []
        with claim, ExitStack() as until_published:

            def packs(level: int) -> Packs:
                made = Packs(stanza, claim.generation, prefix, level, 1, holds_pages=False)
                written.append(until_published.enter_context(made))
                return made

            if self._request.globals:
                self._dump_globals(packs(level_for(0)))
            for database in self._server.databases:
                self._dump_database(database, packs(self._level(database)))
            stored = sum(each.stored_bytes for each in written)
            header = self._header(backup_id, claim.generation, utc_text(started), stored)
            needed = {pack for entry in self._entries for pack in entry.packs()}
            self._sink.emit(PhaseStarted("publishing", backup_id))

            def about_to() -> None:
                for each in written:
                    each.keep()

            claim.publish(header, map(render_entry, self._entries), needed, about_to)
        return header

    def _dump_globals(self, packs: Packs) -> None:
        self._sink.emit(PhaseStarted("dumping", "roles and tablespaces"))
        passwords = self._server.role_is_superuser
        if not passwords:
            self._sink.emit(Warned("only a superuser sees the roles' passwords: they are not in this backup"))
        now = self._clock.now()
        pieces = self._tools.dump_globals(self._request.cluster.connection.database, passwords=passwords)
        entry = self._store(f"{GLOBALS}.sql", pieces, packs)
        self._members.append(Member(GLOBALS, "", (entry.path,), "plain", utc_text(now)))

    def _dump_database(self, database: Database, packs: Packs) -> None:
        request = self._request
        self._sink.emit(PhaseStarted("dumping", database.name))
        compress = "0"
        if request.compression in _PROGRAM_LEVELS:
            level = request.compression_level or _PROGRAM_LEVELS[request.compression]
            compress = str(level) if request.compression == "gzip" else f"{request.compression}:{level}"
        spec = replace(request.cluster.connection, database=database.name)
        with connect(spec, request.cluster.data_directory) as connection:
            snapshot = databases.take_snapshot(connection)
            properties = database_properties.read(connection)
            pieces = self._tools.dump(database.name, request.form, request.selection, snapshot.name, compress)
            entry = self._store(f"databases/{quote(database.name, safe='')}.{FORMS[request.form]}", pieces, packs)
        self._members.append(
            Member(
                "database",
                database.name,
                (entry.path,),
                request.form,
                snapshot.time,
                database.bytes,
                request.selection.given(),
                properties,
            )
        )

    def _level(self, database: Database) -> int:
        if self._request.compression != "zstd":
            return STORED
        return self._request.compression_level or level_for(database.bytes)

    def _store(self, path: str, pieces: Iterator[bytes], packs: Packs) -> FileEntry:
        writer, _metadata = packs.writers(0)
        mtime_ns = int(self._clock.now().timestamp() * 10**9)
        entry = stream_file.store(path, pieces, writer, self._digester, mtime_ns, self._tally.add)
        writer.finish()
        self._entries.append(entry)
        return entry

    def _header(self, backup_id: str, generation: str, started: str, stored_bytes: int) -> SetHeader:
        return SetHeader(
            backup_id=backup_id,
            stanza=self._stanza.name,
            kind=KIND,
            backup_type="full",
            generation=generation,
            parent=None,
            started=started,
            finished=utc_text(self._clock.now()),
            members=tuple(self._members),
            server_version=self._server.version,
            file_count=len(self._entries),
            raw_bytes=sum(entry.size for entry in self._entries),
            stored_bytes=stored_bytes,
            annotations=self._request.annotations,
            engine_version=VERSION,
            backup_class=self._request.backup_class,
        )
