# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ensure that a physical backup exists: now, or not older than asked."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from ..clock import Clock, parse_utc, utc_text
from ..errors import IntegrityError, PreconditionError, UnsupportedError
from ..ports import ProgressSink
from ..postgres import config_files, control_file, data_directory, wal_names
from ..postgres.backup_mode import BackupMode, BackupStop
from ..postgres.connection import Connection, connect
from ..postgres.server import Server, inspect
from ..report.events import PhaseStarted, Warned
from ..repository import manifest
from ..repository.access import stanza_of
from ..repository.packs import PackWriter
from ..repository.stanza import Incarnation, Stanza
from ..repository.wal import WalArchive
from ..sources.cluster_reader import PageCheck, ReadResult, SourceFile, read_files
from ..specs import ClusterSpec, RepositorySpec
from ..version import VERSION
from .wal_wait import wait_for_segments

THIRD_PARTY = ("psycopg", "psycopg.sql", "numpy")


@dataclass(frozen=True)
class BackupRequest:
    """What the user wants."""

    cluster: ClusterSpec
    repository: RepositorySpec
    max_age: timedelta | None = None
    jobs: int = 2
    compression_level: int = 3
    fast_checkpoint: bool = True
    archive_wait: float = 60.0
    fail_on_damaged_pages: bool = False
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class BackupResult:
    """What was done, or (in check mode) would be."""

    changed: bool
    backup: manifest.Header | None
    damaged_pages: list[str] = field(default_factory=list)


def run(request: BackupRequest, clock: Clock, sink: ProgressSink, *, check_mode: bool = False) -> BackupResult:
    """Check, decide, and unless a young enough backup exists make one."""
    sink.emit(PhaseStarted("checking", "server, data directory and repository"))
    stanza = stanza_of(request.repository, request.cluster.stanza)
    with connect(request.cluster.connection, request.cluster.data_directory) as connection:
        server = inspect(connection, request.cluster.data_directory)
        life = stanza.require_registered()
        stanza.require_same_cluster(life, server.system_identifier, server.major)
        require_source(server)
        young = _young_enough(stanza, request.max_age, clock.now())
        if young is not None or check_mode:
            return BackupResult(changed=young is None, backup=young)
        return _Backup(request, stanza, life, server, connection, clock, sink).make()


def require_source(server: Server) -> None:
    """What the server must be like before a backup may start."""
    attempted = "checking whether this server can be backed up"
    if server.in_recovery:
        raise UnsupportedError(
            attempted,
            "it is a standby.",
            "Take the backup from the primary.",
            code="standby_source_unsupported",
        )
    if server.settings["archive_mode"] == "off":
        raise PreconditionError(
            attempted,
            "archive_mode is off, so the WAL that a backup needs would never reach the repository.",
            "Set up archiving first with the module pitr_configure or the playbook configure.yml.",
            code="archiving_off",
        )


def _young_enough(stanza: Stanza, max_age: timedelta | None, now: datetime) -> manifest.Header | None:
    if max_age is None:
        return None
    headers = stanza.headers()
    if headers and now - parse_utc(headers[-1].finished) <= max_age:
        return headers[-1]
    return None


class _Backup:
    """One full backup, from start to manifest."""

    def __init__(
        self,
        request: BackupRequest,
        stanza: Stanza,
        life: Incarnation,
        server: Server,
        connection: Connection,
        clock: Clock,
        sink: ProgressSink,
    ) -> None:
        self._request = request
        self._stanza = stanza
        self._life = life
        self._server = server
        self._connection = connection
        self._clock = clock
        self._sink = sink
        self._started = clock.now()
        self._id = f"{self._started:%Y%m%dT%H%M%SZ}-full-{secrets.token_hex(3)}"

    def make(self) -> BackupResult:
        """Backup mode, files, control file, stop, WAL, manifest: in this order."""
        repository = self._stanza.repository
        writers = [
            PackWriter(repository.store, repository.keys, self._pack_name, self._request.compression_level)
            for _ in range(self._request.jobs)
        ]
        try:
            self._sink.emit(PhaseStarted("starting backup mode", "waiting for a checkpoint"))
            mode = BackupMode(self._connection, self._server.major)
            start_lsn = mode.start(f"lifeboat {self._id}", fast=self._request.fast_checkpoint)
            read = self._copy(start_lsn, writers)
            control = control_file.read_bytes(self._server.data_directory)
            self._sink.emit(PhaseStarted("stopping backup mode"))
            stop = mode.stop()
            (stop_time,) = self._connection.row("asking the server for its time", "SELECT clock_timestamp()")
            self._wait_for_wal(stop)
            header = self._header(read, control, stop, stop_time, sum(writer.stored_bytes for writer in writers))
            self._sink.emit(PhaseStarted("publishing", self._id))
            self._stanza.publish(header, self._lines(read.entries))
        except BaseException:
            for writer in writers:
                writer.abort()
            raise
        return BackupResult(True, header, read.damaged)

    def _pack_name(self, pack_id: str) -> str:
        return self._stanza.pack_name(self._id, pack_id)

    def _copy(self, start_lsn: int, writers: list[PackWriter]) -> ReadResult:
        directory = self._server.data_directory
        config, left_out = config_files.outside(self._connection, self._server)
        for path in left_out:
            self._sink.emit(Warned(f"the configuration file {path} is not included: it is outside the others' folder"))
        total = sum(
            entry.size for entry in data_directory.scan(directory) if entry.kind is data_directory.EntryKind.FILE
        )
        self._sink.emit(PhaseStarted("copying files", str(directory)))
        self._directories: list[manifest.Entry] = []
        self._tablespaces: dict[str, str] = {}
        check = PageCheck(self._server.data_checksums, start_lsn)
        sources = self._sources(directory, [SourceFile(c.path, c.name, "config") for c in config])
        read = read_files(sources, writers, check, total, self._sink)
        if read.damaged and self._request.fail_on_damaged_pages:
            raise IntegrityError(
                "verifying page checksums while reading",
                f"{len(read.damaged)} pages are damaged, the first in {read.damaged[0]}.",
                "Restore the relation from an older backup; no backup was made because damaged pages are not allowed.",
                code="pages_damaged",
                pages=read.damaged[:100],
            )
        return read

    def _sources(self, directory: Path, config: list[SourceFile]) -> Iterator[SourceFile]:
        """What is to be read; directories and tablespaces are noted in passing."""
        yield from config
        for entry in data_directory.scan(directory):
            if entry.kind is data_directory.EntryKind.FILE:
                yield SourceFile(directory / entry.path, entry.path)
            elif entry.kind is data_directory.EntryKind.DIRECTORY:
                self._directories.append(manifest.DirectoryEntry(entry.path, entry.mode))
            elif entry.path.startswith(f"{data_directory.TABLESPACES}/"):
                self._tablespaces[Path(entry.path).name] = entry.target or ""
            else:
                self._sink.emit(Warned(f"the symbolic link {entry.path} is not included"))

    def _wait_for_wal(self, stop: BackupStop) -> None:
        segments = [
            segment.name
            for segment in wal_names.segments_between(
                stop.start_lsn, stop.stop_lsn, stop.timeline, self._server.wal_segment_bytes
            )
        ]
        self._sink.emit(PhaseStarted("waiting for WAL", f"{segments[0]} to {segments[-1]}"))
        archive = WalArchive(self._stanza, self._life)
        wait_for_segments(archive, segments, self._connection, self._clock, self._request.archive_wait)

    def _lines(self, entries: Iterable[manifest.Entry]) -> Iterator[bytes]:
        for directory in self._directories:
            yield manifest.render_entry(directory)
        for entry in entries:
            yield manifest.render_entry(entry)

    def _header(
        self, read: ReadResult, control: bytes, stop: BackupStop, stop_time: datetime, stored_bytes: int
    ) -> manifest.Header:
        return manifest.Header(
            backup_id=self._id,
            stanza=self._stanza.name,
            backup_type="full",
            generation=self._id,
            incarnation=self._life.incarnation,
            system_identifier=self._server.system_identifier,
            server_version=self._server.version_num,
            major_version=self._server.major,
            timeline=stop.timeline,
            start_lsn=stop.start_lsn,
            stop_lsn=stop.stop_lsn,
            wal_segment_bytes=self._server.wal_segment_bytes,
            started=utc_text(self._started),
            finished=utc_text(self._clock.now()),
            stop_time=utc_text(stop_time),
            data_checksums=self._server.data_checksums,
            control_file=base64.b64encode(control).decode("ascii"),
            backup_label=stop.backup_label,
            tablespaces=self._tablespaces,
            file_count=sum(isinstance(entry, manifest.FileEntry) for entry in read.entries) + 1,
            raw_bytes=read.raw_bytes + len(control),
            stored_bytes=stored_bytes,
            damaged_pages=len(read.damaged),
            annotations=self._request.annotations,
            engine_version=VERSION,
        )
