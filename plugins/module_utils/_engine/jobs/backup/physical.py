# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ensure that a physical backup exists: now, or not older than asked."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ...clock import Clock, parse_utc
from ...errors import PreconditionError
from ...ports import ProgressSink
from ...postgres import config_files, control_file, data_directory, replication
from ...postgres.backup_mode import BackupMode
from ...postgres.connection import Connection, connect
from ...postgres.server import Server, inspect
from ...postgres.wal_names import Lsn, parse_lsn
from ...priority import yield_to_others
from ...report.events import PhaseStarted, Warned
from ...repository import manifest
from ...repository.access import stanza_of
from ...repository.digests import Digester
from ...repository.stanza import Incarnation, Stanza
from ...sources.cluster_reader import Findings, Reading, Worker, read_files
from ...sources.entry_spool import EntrySpool
from ...sources.page_check import PageCheck
from ...sources.previous import Previous
from ...sources.tally import ByteTally
from ...sources.workers import largest_first, require_some
from ..wal import claim
from . import lineage
from .claim import Claim
from .making import Facts, Making, Taken
from .packs import Packs
from .policy import Decision, decide
from .request import BackupRequest, BackupResult
from .walk import Walk

if TYPE_CHECKING:
    from ...postgres.wal_summaries import ChangedBlocks

__all__ = ["IMPORTED_LATER", "THIRD_PARTY", "BackupRequest", "BackupResult", "require_source", "run"]

THIRD_PARTY = ("psycopg", "psycopg.sql", "numpy", "xxhash")
# Imported when they are needed: few backups need them, and imports are most of what a small backup takes. A job that is
# to become another user must have them before: it cannot read a module's payload any more.
_JOBS = (__package__ or "").rpartition(".")[0]
IMPORTED_LATER = tuple(f"{_JOBS}.{name}" for name in ("wal.proof", "backup.stream", "backup.summaries"))


def run(request: BackupRequest, clock: Clock, sink: ProgressSink, *, check_mode: bool = False) -> BackupResult:
    """Check, decide, and unless a young enough backup exists make one."""
    if request.low_priority:
        yield_to_others(sink)
    require_some(request.jobs)
    by_protocol = request.cluster.method == "stream"
    sink.emit(PhaseStarted("checking", f"server{'' if by_protocol else ', data directory'} and repository"))
    stanza = stanza_of(request.repository, request.cluster.stanza)

    def decided(life: Incarnation, headers: list[manifest.Header]) -> Decision | BackupResult:
        own = [header for header in headers if header.incarnation == life.incarnation]
        young = _young_enough(own, request.max_age, clock.now())  # a former life's says nothing about this one
        if young is not None:
            return BackupResult(False, young.backup_type, young)
        decision = decide(request.backup_type, request.full_every, headers, life, clock.now())
        return BackupResult(True, decision.backup_type, None) if check_mode else decision

    if by_protocol:
        from . import stream as backup_stream

        with replication.connect(request.cluster.connection, lambda text: sink.emit(Warned(text))) as session:
            remote = session.inspect()
            life, headers = _own_life(stanza, stanza.require_registered(), remote)
            backup_stream.require_source(remote, stanza, life, headers)
            made = decided(life, headers)
            if isinstance(made, BackupResult):
                return made
            return backup_stream.StreamBackup(request, made, stanza, life, remote, session, clock, sink).make()
    with connect(request.cluster.connection, request.cluster.data_directory) as connection:
        server = inspect(connection, request.cluster.data_directory)
        life, headers = _own_life(stanza, claim.known_life(stanza, server.data_directory), server)
        require_source(server, streams=request.cluster.receive.streams)
        _require_present(server, connection, life, headers)
        made = decided(life, headers)
        if isinstance(made, BackupResult):
            return made
        return _Backup(request, made, stanza, life, server, connection, clock, sink).make()


def _own_life(stanza: Stanza, life: Incarnation, server: Facts) -> tuple[Incarnation, list[manifest.Header]]:
    """The life that must be this server's, and the stanza's backups."""
    stanza.require_same_cluster(life, server.system_identifier, server.major)
    return life, stanza.headers()


def require_source(server: Server, *, streams: bool) -> None:
    """What the server must be like before a backup may start; where a receiver takes its WAL it need not archive."""
    attempted = "checking whether this server can be backed up"
    # A standby's WAL is archived by its primary, which cannot be asked from here.
    if server.settings["archive_mode"] == "off" and not server.in_recovery and not streams:
        raise PreconditionError(
            attempted,
            "archive_mode is off, so the WAL that a backup needs would never reach the repository.",
            "Set up archiving first with the module pitr_configure or the playbook configure.yml.",
            code="archiving_off",
        )


def _require_present(server: Server, connection: Connection, life: Incarnation, headers: list[manifest.Header]) -> None:
    """A former primary, or an older copy of the cluster, would make backups that nothing archived goes with."""
    position = None
    if not server.in_recovery:
        (lsn,) = connection.row("asking the server for its position", "SELECT pg_current_wal_flush_lsn()::text")
        position = parse_lsn(lsn)
    lineage.require_present(life, headers, claim.facts_of(server.data_directory).timeline, position)


def _young_enough(headers: list[manifest.Header], max_age: timedelta | None, now: datetime) -> manifest.Header | None:
    if max_age is not None and headers and now - parse_utc(headers[-1].finished) <= max_age:
        return headers[-1]
    return None


class _Backup(Making):
    """A backup of a directory on this host, between the start and the stop of backup mode."""

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
        super().__init__(request, decision, stanza, life, server, clock, sink)
        self._server = server
        self._connection = connection

    def _take(self, claim: Claim, packs: Packs, spool: EntrySpool) -> Taken:
        """Backup mode, files, control file, stop: in this order."""
        self._sink.emit(PhaseStarted("starting backup mode", "waiting for a checkpoint"))
        mode = BackupMode(self._connection, self._server.major)
        start_lsn = mode.start(f"lifeboat {self._id}", fast=self._request.fast_checkpoint)
        findings, tally, tablespaces = self._copy(start_lsn, claim, packs, spool)
        control = control_file.read_bytes(self._server.data_directory)
        self._sink.emit(PhaseStarted("stopping backup mode"))
        stop = mode.stop()
        (stop_time,) = self._connection.row("asking the server for its time", "SELECT clock_timestamp()")
        return Taken(findings, spool.lines(), tally.done, tablespaces, control, stop, stop_time)

    def _why_wal_is_late(self) -> str:
        from ..wal.proof import why_late

        receive = self._request.cluster.receive
        return why_late(
            self._connection,
            self._server.data_directory,
            "",
            by_command=receive.archives,
            slot=receive.slot if receive.streams else None,
        )

    def _copy(
        self, start_lsn: int, claim: Claim, packs: Packs, spool: EntrySpool
    ) -> tuple[Findings, ByteTally, dict[str, str]]:
        directory, request = self._server.data_directory, self._request
        parent, previous = self._decision.parent, self._decision.previous
        total = previous.raw_bytes if previous else data_directory.total_bytes(directory)
        changed_blocks = self._changed_blocks(start_lsn)
        since = f", changes since {parent.backup_id}" if parent else ""
        if changed_blocks is not None:
            since += ", which the WAL summaries tell"
        self._sink.emit(PhaseStarted("copying files", f"{directory}{since}"))
        tally = ByteTally(self._sink, total, request.max_rate, self._clock)
        findings = Findings(spool, self._sink)
        reading = Reading(
            PageCheck(self._server.data_checksums, start_lsn, trusts_previous=self._pages_were_judged_alike(previous)),
            Digester(self._stanza.repository.keys.digest_seed),
            refers_to_previous=parent is not None,
            journal=claim.journal,
            journal_every=request.journal_every,
            changed_blocks=changed_blocks,
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
        read_files(largest_first(walk.sources(), lambda source: source.size), crew)
        return findings, tally, walk.tablespaces

    def _changed_blocks(self, start_lsn: Lsn) -> ChangedBlocks | None:
        """What WAL has changed since the parent was begun, where the server notes it; else everything is read."""
        parent = self._decision.parent
        if parent is None or self._server.settings.get("summarize_wal") != "on":
            return None
        from . import summaries as wal_summary_wait

        timeline = control_file.read(self._server.data_directory).timeline
        # Before the parent's end this may be a standby that lags: its files are older than what would be taken over.
        if timeline != parent.timeline or start_lsn < parent.stop_lsn:
            return None
        return wal_summary_wait.changed_blocks(
            self._server.data_directory, timeline, (parent.start_lsn, start_lsn), self._clock, self._sink
        )

    def _times_can_be_trusted(self, previous: manifest.Header) -> bool:
        """After a promotion or a restore, or when the clock went back, a file's time proves nothing."""
        control = control_file.read(self._server.data_directory)
        # Times that a stream has brought are cut to seconds, and of another clock than `started`.
        if previous.method != "files":
            return False
        return control.timeline == previous.timeline and self._started > parse_utc(previous.finished)
