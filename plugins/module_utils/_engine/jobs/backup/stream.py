# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup of a server whose files are out of reach: it sends them itself, by the replication protocol.

`pg_basebackup` does the same, but is not used: it can write to one stream only what has no
tablespaces, must not be older than the server, and says where the backup ends in words. The
command behind it, BASE_BACKUP, takes a connection and says everything in fields.

Every byte is sent and read, whatever has changed; compared, checked, sealed and stored it is as in
any other backup, and either kind builds on the other. Nothing can be read a second time: the
server itself reads torn pages again before it sends them, and what is bad even so is a finding.
Sizes and times say nothing here, so nothing is passed over because of them.
"""

from __future__ import annotations

from datetime import timedelta

from ... import wal_spool
from ...clock import Clock
from ...errors import IntegrityError, PreconditionError
from ...ports import ProgressSink
from ...postgres import control_file
from ...postgres.backup_mode import BackupStop, parse_label
from ...postgres.base_backup import BaseBackup, Ended
from ...postgres.replication import RemoteServer, Replication
from ...postgres.wal_names import Lsn
from ...report.events import PhaseStarted, Warned
from ...repository.digests import Digester
from ...repository.manifest import Header
from ...repository.stanza import Incarnation, Stanza
from ...repository.wal import WalArchive
from ...sources.cluster_reader import Findings, Reading, Worker, read_files
from ...sources.entry_spool import EntrySpool
from ...sources.page_check import PageCheck
from ...sources.path_index import PathIndex
from ...sources.stream_files import StreamFiles
from ...sources.tally import ByteTally
from . import lineage
from .claim import Claim
from .making import Making, Taken
from .packs import Packs
from .policy import Decision
from .request import BackupRequest, BackupResult


def require_source(server: RemoteServer, stanza: Stanza, life: Incarnation, headers: list[Header]) -> None:
    """What must be so before a backup by protocol may start."""
    attempted = "checking whether this server can be backed up"
    archive = WalArchive(stanza, life)
    comes = server.archive_mode != "off" or archive.timelines() or archive.partials.there()
    if not comes and not server.in_recovery:
        raise PreconditionError(
            attempted,
            "its archive_mode is off and no WAL has come to the repository another way, so the backup's never would.",
            "Set up archiving on its host with the module pitr_configure, or start its receiver (lifeboat receive).",
            code="archiving_off",
        )
    lineage.require_present(life, headers, server.timeline, None if server.in_recovery else server.position)


class StreamBackup(Making):
    """A backup that the server sends."""

    def __init__(
        self,
        request: BackupRequest,
        decision: Decision,
        stanza: Stanza,
        life: Incarnation,
        server: RemoteServer,
        session: Replication,
        clock: Clock,
        sink: ProgressSink,
    ) -> None:
        super().__init__(request, decision, stanza, life, server, clock, sink)
        self._server = server
        self._session = session
        self._index = PathIndex()

    def make(self) -> BackupResult:
        """As every backup is made."""
        with self._index:
            return super().make()

    def _take(self, claim: Claim, packs: Packs, spool: EntrySpool) -> Taken:
        self._look_back(claim)
        self._sink.emit(PhaseStarted("starting backup mode", "waiting for a checkpoint"))
        backup = BaseBackup(self._session, self._server.major)
        start_lsn, tablespaces = backup.begin(f"lifeboat {self._id}", fast=self._request.fast_checkpoint)
        parent = self._decision.parent
        self._sink.emit(
            PhaseStarted("receiving files", f"changes since {parent.backup_id}" if parent else "all of them")
        )
        tally = ByteTally(self._sink, sum(each.size for each in tablespaces), self._request.max_rate, self._clock)
        findings = Findings(spool, self._sink)
        files = StreamFiles(self._index, spool, self._clock, self._sink)
        read_files(
            files.sources(backup.archives(tablespaces)),
            self._crew(start_lsn, claim, packs, tally, findings),
            files.failed,
        )
        self._sink.emit(PhaseStarted("stopping backup mode"))
        ended = backup.end()
        # The server cannot be asked for its time; what it has sent told, to a second, how far its clock is ahead.
        stop_time = self._clock.now() + timedelta(seconds=files.clock_ahead + 1)
        if not files.has_configuration:
            self._sink.emit(
                Warned(
                    "the server keeps its configuration outside its data directory, where the replication protocol"
                    " does not reach: it is not in this backup"
                )
            )
        if ended.complained and not findings.damaged:
            findings.damaged.append("pages that the server names in its warnings")
        self._require_same_server(files.control)
        self._require_same_life(files.claim)
        stop = self._stop(start_lsn, ended, files.backup_label)
        lines = spool.lines_of(self._index.in_order())
        return Taken(findings, lines, tally.done, files.tablespaces, files.control, stop, stop_time)

    def _look_back(self, claim: Claim) -> None:
        """What need not be stored again: what the parent has, and what an attempt that died has brought in."""
        parent = self._decision.parent
        if parent is not None:
            self._sink.emit(PhaseStarted("reading the last backup's manifest", parent.backup_id))
            self._index.know(self._stanza.entries(parent.backup_id))
        self._index.know(entry for _started, entry in claim.resumed_files())

    def _crew(self, start_lsn: Lsn, claim: Claim, packs: Packs, tally: ByteTally, findings: Findings) -> list[Worker]:
        reading = Reading(
            PageCheck(
                self._server.data_checksums,
                start_lsn,
                trusts_previous=self._decision.parent is None or self._pages_were_judged_alike(self._decision.parent),
            ),
            Digester(self._stanza.repository.keys.digest_seed),
            refers_to_previous=True,  # a full backup looks back at nothing that it may not refer to
            journal=claim.journal,
            journal_every=self._request.journal_every,
        )
        return [
            Worker(*packs.writers(index), packs.map_reader(claim.generation), reading, tally, findings)
            for index in range(self._request.jobs)
        ]

    def _require_same_server(self, control: bytes) -> None:
        """The control file came last, and must be whole and of the server that was asked who it is (I5)."""
        found = control_file.parse(control, "the control file that the server sent").system_identifier
        if found != self._server.system_identifier:
            raise IntegrityError(
                "checking what the server has sent",
                f"it is of the cluster with the system identifier {found},"
                f" not of {self._server.system_identifier} that answered.",
                "Connect to PostgreSQL itself, not to a pooler or proxy that changes servers.",
                code="server_directory_mismatch",
            )

    def _require_same_life(self, claim: str) -> None:
        """A server that archives by our command says into which life; one that does not says nothing."""
        life = wal_spool.life_in(claim)
        if life is not None and life != wal_spool.life_name(self._server.system_identifier, self._life.incarnation):
            raise IntegrityError(
                "checking what the server has sent",
                f"it archives as {life}, while the present incarnation of {self._stanza.name} is"
                f" {self._life.incarnation}.",
                "Connect to the server that archives into this stanza, and give a clone a stanza of its own.",
                code="claim_of_another_cluster",
            )

    def _stop(self, start_lsn: Lsn, ended: Ended, label: str) -> BackupStop:
        stop = parse_label(label, ended.stop_lsn)
        if (stop.start_lsn, stop.timeline) != (start_lsn, ended.timeline):
            raise IntegrityError(
                "checking what the server has sent",
                "its backup label does not tell the start and the timeline that the protocol told.",
                "Report this with the server's exact version.",
                code="base_backup_incomplete",
            )
        return stop

    def _why_wal_is_late(self) -> str:
        return (
            "By the replication protocol the server cannot be asked for the reason;"
            f" its archive_mode is {self._server.archive_mode}."
        )
