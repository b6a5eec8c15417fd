# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ensure that a physical backup exists: now, or not older than asked."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ..clock import Clock, parse_utc, utc_text
from ..errors import IntegrityError, PreconditionError
from ..ports import ProgressSink
from ..postgres import config_files, control_file, data_directory, wal_names
from ..postgres.backup_mode import BackupMode, BackupStop
from ..postgres.connection import Connection, connect
from ..postgres.server import Server, inspect
from ..priority import yield_to_others
from ..report.events import PhaseStarted, Warned
from ..repository import manifest
from ..repository.access import stanza_of
from ..repository.digests import Digester
from ..repository.stanza import Incarnation, Stanza
from ..repository.wal import WalArchive
from ..sources.cluster_reader import Findings, Reading, Worker, read_files
from ..sources.entry_spool import EntrySpool
from ..sources.page_check import PageCheck
from ..sources.previous import Previous
from ..sources.tally import ByteTally
from ..sources.workers import require_some
from ..specs import ClusterSpec, RepositorySpec
from ..version import VERSION
from . import claim
from .backup_claim import Claim
from .backup_packs import Packs, new_prefix
from .backup_policy import Decision, decide
from .backup_walk import Walk
from .wal_wait import wait_for_segments

_WAIT_SECONDS = 60.0
_STANDBY_WAIT_SECONDS = 300.0  # a standby cannot end the segment: the primary does, after its archive_timeout
THIRD_PARTY = ("psycopg", "psycopg.sql", "numpy", "xxhash")


@dataclass(frozen=True)
class BackupRequest:
    """What the user wants."""

    cluster: ClusterSpec
    repository: RepositorySpec
    backup_type: str = "auto"
    full_every: timedelta = timedelta(days=30)
    max_age: timedelta | None = None
    jobs: int = 2
    compression_level: int = 3
    fast_checkpoint: bool = True
    archive_wait: float | None = None  # as long as it usually takes, unless said
    fail_on_damaged_pages: bool = False
    annotations: dict[str, str] = field(default_factory=dict)
    max_rate: float | None = None  # bytes a second
    low_priority: bool = False
    # After how many bytes a worker notes what it has finished, for a later backup to go on from.
    journal_every: int = 1 << 30


@dataclass(frozen=True)
class BackupResult:
    """What was done, or (in check mode) would be."""

    changed: bool
    backup_type: str
    backup: manifest.Header | None
    damaged_pages: list[str] = field(default_factory=list)


def run(request: BackupRequest, clock: Clock, sink: ProgressSink, *, check_mode: bool = False) -> BackupResult:
    """Check, decide, and unless a young enough backup exists make one."""
    if request.low_priority:
        yield_to_others(sink)
    require_some(request.jobs)
    sink.emit(PhaseStarted("checking", "server, data directory and repository"))
    stanza = stanza_of(request.repository, request.cluster.stanza)
    with connect(request.cluster.connection, request.cluster.data_directory) as connection:
        server = inspect(connection, request.cluster.data_directory)
        life = claim.known_life(stanza, server.data_directory)
        stanza.require_same_cluster(life, server.system_identifier, server.major)
        require_source(server)
        headers = stanza.headers()
        young = _young_enough(headers, request.max_age, clock.now())
        if young is not None:
            return BackupResult(False, young.backup_type, young)
        decision = decide(request.backup_type, request.full_every, headers, life, clock.now())
        if check_mode:
            return BackupResult(True, decision.backup_type, None)
        return _Backup(request, decision, stanza, life, server, connection, clock, sink).make()


def require_source(server: Server) -> None:
    """What the server must be like before a backup may start."""
    attempted = "checking whether this server can be backed up"
    # A standby's WAL is archived by its primary, which cannot be asked from here.
    if server.settings["archive_mode"] == "off" and not server.in_recovery:
        raise PreconditionError(
            attempted,
            "archive_mode is off, so the WAL that a backup needs would never reach the repository.",
            "Set up archiving first with the module pitr_configure or the playbook configure.yml.",
            code="archiving_off",
        )


def _young_enough(headers: list[manifest.Header], max_age: timedelta | None, now: datetime) -> manifest.Header | None:
    if max_age is not None and headers and now - parse_utc(headers[-1].finished) <= max_age:
        return headers[-1]
    return None


@dataclass(frozen=True)
class _Copied:
    """What copying the files has given."""

    findings: Findings
    raw_bytes: int
    tablespaces: dict[str, str]


class _Backup:
    """One backup, from start to manifest."""

    def __init__(
        self,
        request: BackupRequest,
        decision: Decision,
        stanza: Stanza,
        life: Incarnation,
        server: Server,
        connection: Connection,
        clock: Clock,
        sink: ProgressSink,
    ) -> None:
        self._request = request
        self._decision = decision
        self._stanza = stanza
        self._life = life
        self._server = server
        self._connection = connection
        self._clock = clock
        self._sink = sink
        self._started = clock.now()
        self._id = f"{self._started:%Y%m%dT%H%M%SZ}-{decision.backup_type[:4]}-{secrets.token_hex(3)}"

    def make(self) -> BackupResult:
        """Backup mode, files, control file, stop, WAL, manifest: in this order."""
        request, prefix = self._request, new_prefix()
        claim = Claim(self._stanza, self._life, self._decision, self._id, prefix, self._clock)
        packs = Packs(self._stanza, claim.generation, prefix, request.compression_level, request.jobs)
        with claim, packs, EntrySpool() as spool:
            header, findings = self._copy_and_publish(claim, packs, spool)
        if findings.missed:
            raise IntegrityError(
                f"comparing the full backup {self._id} with the one before",
                f"{len(findings.missed)} files changed although their size and time did not,"
                f" the first is {findings.missed[0]}.",
                "This full backup is good. Do not trust the incremental ones before it, and find out what changes"
                " files behind the server's back.",
                code="unnoticed_changes",
                files=findings.missed[:100],
                backup=self._id,
            )
        return BackupResult(True, self._decision.backup_type, header, findings.damaged)

    def _copy_and_publish(self, claim: Claim, packs: Packs, spool: EntrySpool) -> tuple[manifest.Header, Findings]:
        self._sink.emit(PhaseStarted("starting backup mode", "waiting for a checkpoint"))
        mode = BackupMode(self._connection, self._server.major)
        start_lsn = mode.start(f"lifeboat {self._id}", fast=self._request.fast_checkpoint)
        copied = self._copy(start_lsn, claim, packs, spool)
        control = control_file.read_bytes(self._server.data_directory)
        self._sink.emit(PhaseStarted("stopping backup mode"))
        stop = mode.stop()
        copied.findings.judge_excused(stop.stop_lsn)
        self._require_good_pages(copied.findings)
        (stop_time,) = self._connection.row("asking the server for its time", "SELECT clock_timestamp()")
        self._wait_for_wal(stop)
        header = self._header(copied, claim.generation, control, stop, stop_time, packs.stored_bytes)
        self._sink.emit(PhaseStarted("publishing", self._id))
        claim.publish(header, spool.lines(), copied.findings.needed_packs, packs.keep)
        return header, copied.findings

    def _copy(self, start_lsn: int, claim: Claim, packs: Packs, spool: EntrySpool) -> _Copied:
        directory, request = self._server.data_directory, self._request
        parent, previous = self._decision.parent, self._decision.previous
        total = previous.raw_bytes if previous else data_directory.total_bytes(directory)
        since = f", changes since {parent.backup_id}" if parent else ""
        self._sink.emit(PhaseStarted("copying files", f"{directory}{since}"))
        tally = ByteTally(self._sink, total, request.max_rate, self._clock)
        findings = Findings(spool, self._sink)
        reading = Reading(
            PageCheck(self._server.data_checksums, start_lsn, trusts_previous=self._pages_were_judged_alike(previous)),
            Digester(self._stanza.repository.keys.digest_seed),
            refers_to_previous=parent is not None,
            journal=claim.journal,
            journal_every=request.journal_every,
        )
        old_maps = previous.generation if previous else claim.generation
        crew = [
            Worker(*packs.writers(index), packs.map_reader(old_maps), reading, tally, findings)
            for index in range(request.jobs)
        ]
        config, left_out = config_files.outside(self._connection, self._server)
        for path in left_out:
            self._sink.emit(Warned(f"the configuration file {path} is not included: it is outside the others' folder"))
        walk = Walk(
            directory,
            config,
            Previous(self._stanza, previous, trust_times=self._times_can_be_trusted(previous)) if previous else None,
            claim.resumed(),
            spool,
            tally,
            findings,
            self._sink,
            takes_over=parent is not None,
        )
        read_files(walk.sources(), crew)
        return _Copied(findings, tally.done, walk.tablespaces)

    def _require_good_pages(self, findings: Findings) -> None:
        if findings.damaged and self._request.fail_on_damaged_pages:
            raise IntegrityError(
                "verifying pages while reading",
                f"{len(findings.damaged)} pages are damaged, the first is {findings.damaged[0]}.",
                "Restore the relation from an older backup; no backup was made because damaged pages are not allowed.",
                code="pages_damaged",
                pages=findings.damaged[:100],
            )

    def _pages_were_judged_alike(self, previous: manifest.Header | None) -> bool:
        """Whether a page with the same bytes as in the last backup needs no second look."""
        return previous is not None and previous.data_checksums == self._server.data_checksums

    def _times_can_be_trusted(self, previous: manifest.Header) -> bool:
        """After a promotion or a restore, or when the clock went back, a file's time proves nothing."""
        control = control_file.read(self._server.data_directory)
        return control.timeline == previous.timeline and self._started > parse_utc(previous.finished)

    def _wait_for_wal(self, stop: BackupStop) -> None:
        segments = [
            segment.name
            for segment in wal_names.segments_between(
                stop.start_lsn, stop.stop_lsn, stop.timeline, self._server.wal_segment_bytes
            )
        ]
        self._sink.emit(PhaseStarted("waiting for WAL", f"{segments[0]} to {segments[-1]}"))
        archive = WalArchive(self._stanza, self._life)
        usual = _STANDBY_WAIT_SECONDS if self._server.in_recovery else _WAIT_SECONDS
        wait_for_segments(archive, segments, self._connection, self._clock, self._request.archive_wait or usual)

    def _header(
        self,
        copied: _Copied,
        generation: str,
        control: bytes,
        stop: BackupStop,
        stop_time: datetime,
        stored_bytes: int,
    ) -> manifest.Header:
        return manifest.Header(
            backup_id=self._id,
            stanza=self._stanza.name,
            backup_type=self._decision.backup_type,
            generation=generation,
            parent=self._decision.parent.backup_id if self._decision.parent else None,
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
            tablespaces=copied.tablespaces,
            file_count=copied.findings.files + 1,
            raw_bytes=copied.raw_bytes + len(control),
            stored_bytes=stored_bytes,
            damaged_pages=len(copied.findings.damaged),
            annotations=self._request.annotations,
            engine_version=VERSION,
        )
