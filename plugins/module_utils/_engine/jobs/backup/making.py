# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every backup does, however it gets at the cluster's files: claim, take, wait for WAL, publish."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ...clock import Clock, utc_text
from ...errors import IntegrityError
from ...ports import ProgressSink
from ...postgres import control_file, wal_names
from ...postgres.backup_mode import BackupStop
from ...postgres.wal_names import format_lsn
from ...report.events import PhaseStarted
from ...repository import manifest
from ...repository.stanza import Incarnation, Stanza
from ...repository.wal import WalArchive
from ...sources.cluster_reader import Findings
from ...sources.entry_spool import EntrySpool
from ...version import VERSION
from ..wal.wait import wait_for_segments
from .claim import Claim
from .packs import Packs, new_prefix
from .policy import Decision, new_id
from .request import BackupRequest, BackupResult

_WAIT_SECONDS = 60.0
_STANDBY_WAIT_SECONDS = 300.0  # a standby cannot end the segment: the primary does, after its archive_timeout


class Facts(Protocol):
    """What must be known of a server, whatever way that was learnt."""

    @property
    def version_num(self) -> int:
        """Its version as PostgreSQL numbers it."""

    @property
    def major(self) -> int:
        """13, 14, ..."""

    @property
    def system_identifier(self) -> int:
        """The cluster's identity."""

    @property
    def in_recovery(self) -> bool:
        """Whether it is a standby."""

    @property
    def wal_segment_bytes(self) -> int:
        """How large a WAL segment is."""

    @property
    def data_checksums(self) -> bool:
        """Whether pages carry checksums."""


@dataclass(frozen=True)
class Taken:
    """What was taken of the cluster; all of it is in packs, and nothing names it yet."""

    findings: Findings
    lines: Iterator[bytes]  # of the manifest, in its order
    raw_bytes: int
    tablespaces: dict[str, str]
    control: bytes
    stop: BackupStop
    stop_time: datetime


class Making(ABC):
    """One backup, from its intent to its manifest. How its files are taken is the subclass's."""

    def __init__(
        self,
        request: BackupRequest,
        decision: Decision,
        stanza: Stanza,
        life: Incarnation,
        facts: Facts,
        clock: Clock,
        sink: ProgressSink,
    ) -> None:
        self._request = request
        self._decision = decision
        self._stanza = stanza
        self._life = life
        self._facts = facts
        self._clock = clock
        self._sink = sink
        self._started = clock.now()
        self._id = new_id(decision.newest_id, decision.backup_type, self._started)

    @abstractmethod
    def _take(self, claim: Claim, packs: Packs, spool: EntrySpool) -> Taken:
        """Bring the cluster's files into packs, between the start and the stop of backup mode."""

    @abstractmethod
    def _why_wal_is_late(self) -> str:
        """What the server says of its archiving, in a sentence."""

    def _why_primary_is_late(self) -> str:
        """A standby archives nothing, and cannot end a segment."""
        return (
            "SELECT pg_switch_wal() on the primary ends the segment at once, its archive_timeout (unless 0) in time;"
            " only then it is archived."
        )

    def make(self) -> BackupResult:
        """Take the files, wait for their WAL, publish the manifest: in this order."""
        request, prefix = self._request, new_prefix()
        method = request.cluster.method
        claim = Claim(self._stanza, self._life.incarnation, self._decision, self._id, prefix, self._clock, method)
        packs = Packs(self._stanza, claim.generation, prefix, request.compression_level, request.jobs)
        with claim, packs, EntrySpool() as spool:
            header, findings = self._take_and_publish(claim, packs, spool)
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

    def _take_and_publish(self, claim: Claim, packs: Packs, spool: EntrySpool) -> tuple[manifest.Header, Findings]:
        taken = self._take(claim, packs, spool)
        self._require_its_own_checkpoint(taken)
        taken.findings.judge_excused(taken.stop.stop_lsn)
        self._require_good_pages(taken.findings)
        self._wait_for_wal(taken.stop)
        header = self._header(taken, claim.generation, packs.stored_bytes)
        self._sink.emit(PhaseStarted("publishing", self._id))
        claim.publish(header, taken.lines, taken.findings.needed_packs, packs.keep)
        return header, taken.findings

    def _require_its_own_checkpoint(self, taken: Taken) -> None:
        """The checkpoint that the backup began with is in its server's control file at once, and in no other's.

        Clones that were started together differ in nothing else that can be compared beforehand.
        """
        attempted = "comparing what was read with the server that was in backup mode"
        redo = control_file.parse(taken.control, "the control file that was backed up").redo_lsn
        if redo < taken.stop.start_lsn:
            raise IntegrityError(
                attempted,
                f"the server began at {format_lsn(taken.stop.start_lsn)} with a checkpoint, but the control file has"
                f" one at {format_lsn(redo)}: the files are of another server than the one that answered.",
                "Correct the login options or data_directory so that both mean the same server.",
                code="server_directory_mismatch",
            )

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
        return previous is not None and previous.data_checksums == self._facts.data_checksums

    def _wait_for_wal(self, stop: BackupStop) -> None:
        segments = [
            segment.name
            for segment in wal_names.segments_between(
                stop.start_lsn, stop.stop_lsn, stop.timeline, self._facts.wal_segment_bytes
            )
        ]
        self._sink.emit(PhaseStarted("waiting for WAL", f"{segments[0]} to {segments[-1]}"))
        archive = WalArchive(self._stanza, self._life)
        patience = self._request.archive_wait
        if patience is None:
            patience = _STANDBY_WAIT_SECONDS if self._facts.in_recovery else _WAIT_SECONDS
        why = self._why_primary_is_late if self._facts.in_recovery else self._why_wal_is_late

        def still(segment: str) -> None:
            self._sink.emit(PhaseStarted("still waiting for WAL", f"{why()} {segment}, for {patience:g} s at most"))

        wait_for_segments(archive, segments, why, self._clock, patience, still)

    def _header(self, taken: Taken, generation: str, stored_bytes: int) -> manifest.Header:
        stop = taken.stop
        return manifest.Header(
            backup_id=self._id,
            stanza=self._stanza.name,
            backup_type=self._decision.backup_type,
            generation=generation,
            parent=self._decision.parent.backup_id if self._decision.parent else None,
            incarnation=self._life.incarnation,
            system_identifier=self._facts.system_identifier,
            server_version=self._facts.version_num,
            major_version=self._facts.major,
            timeline=stop.timeline,
            start_lsn=stop.start_lsn,
            stop_lsn=stop.stop_lsn,
            wal_segment_bytes=self._facts.wal_segment_bytes,
            started=utc_text(self._started),
            finished=utc_text(self._clock.now()),
            stop_time=utc_text(taken.stop_time),
            data_checksums=self._facts.data_checksums,
            control_file=base64.b64encode(taken.control).decode("ascii"),
            backup_label=stop.backup_label,
            tablespaces=taken.tablespaces,
            file_count=taken.findings.files + 1,
            raw_bytes=taken.raw_bytes + len(taken.control),
            stored_bytes=stored_bytes,
            damaged_pages=len(taken.findings.damaged),
            annotations=self._request.annotations,
            method=self._request.cluster.method,
            engine_version=VERSION,
            backup_class=self._request.backup_class,
        )
