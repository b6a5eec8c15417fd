# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choosing the backups from which a target can be reached, before anything is touched.

A backup serves when all of it lies on the way to the target's timeline, and before the target.
What a cluster wrote behind the point where its successor left it is on no way to that successor,
and a backup made there must not be chosen.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ...clock import parse_utc
from ...errors import IntegrityError, LifeboatError, PreconditionError
from ...postgres import control_file
from ...postgres.recovery_settings import RecoveryTarget
from ...postgres.timeline_path import Path
from ...postgres.wal_names import WalSegment, format_lsn, parse_segment_name, segment_of, segments_between
from ...repository.manifest import Header
from ...repository.stanza import Incarnation, Stanza
from ...repository.wal import WalArchive
from ..wal.timeline_map import TimelineMap

LATEST = "latest"
_XID_MASK, _HALF_OF_ALL_XIDS = (1 << 32) - 1, 1 << 31


@dataclass(frozen=True)
class Choice:
    """A backup, and the way from it to the target's timeline."""

    header: Header
    life: Incarnation
    archive: WalArchive
    path: Path


def backup_for(stanza: Stanza, backup: str, target: RecoveryTarget, now: datetime) -> Header:
    """The asked backup, or the newest one that serves."""
    return candidates(stanza, backup, target, now)[0].header


def candidates(stanza: Stanza, backup: str, target: RecoveryTarget, now: datetime) -> list[Choice]:
    """The backups that serve, newest first; at least one."""
    attempted = f"choosing a backup of {stanza.name}"
    if target.time is not None and target.time > now:
        raise PreconditionError(
            attempted,
            f"the target {target.time.isoformat()} is in the future (it is {now.isoformat(timespec='seconds')}).",
            "Give a time in the past, with its zone.",
            code="target_in_future",
        )
    headers = stanza.headers() if backup == LATEST else [stanza.header(backup)]
    if not headers:
        raise PreconditionError(
            attempted, "there is no backup.", "Make one first with the module pg_backup.", code="no_backup"
        )
    found = _Candidates(stanza, target)
    for header in reversed(headers):
        found.consider(header)
    if not found.choices:
        raise found.refusal(attempted)
    return found.choices


class _Candidates:
    def __init__(self, stanza: Stanza, target: RecoveryTarget) -> None:
        self._stanza = stanza
        self._target = target
        self._maps: dict[str, tuple[Incarnation, TimelineMap]] = {}
        self._off_path: list[tuple[Header, Path]] = []
        self._too_late: list[Header] = []
        self._unknown: LifeboatError | None = None
        self.choices: list[Choice] = []

    def consider(self, header: Header) -> None:
        """Take a backup when it serves, else note why it does not."""
        try:
            life, timelines = self._map_of(header)
            path = timelines.to(self._target.timeline, header.timeline)
        except PreconditionError as exc:  # a cluster's earlier life may not have had this timeline
            self._unknown = self._unknown or exc
            return
        except LifeboatError:
            if not self.choices:
                raise
            return  # damage that only matters to older backups must not keep newer ones from use
        if not path.passes(header.timeline, header.stop_lsn):
            self._off_path.append((header, path))
        elif not _precedes(header, self._target):
            self._too_late.append(header)
        else:
            self.choices.append(Choice(header, life, timelines.archive, path))

    def _map_of(self, header: Header) -> tuple[Incarnation, TimelineMap]:
        if header.incarnation not in self._maps:
            life = life_of(self._stanza, header)
            self._maps[header.incarnation] = life, TimelineMap(WalArchive(self._stanza, life))
        return self._maps[header.incarnation]

    def refusal(self, attempted: str) -> LifeboatError:
        """Why no backup serves."""
        if self._too_late:
            earliest = _earliest(self._too_late, self._target)
            return PreconditionError(
                attempted,
                f"the target {self._target.describe()} is before the end of the first usable backup.",
                f"The earliest point that can be reached is {earliest}.",
                code="target_before_first_backup",
                earliest=earliest,
            )
        if self._unknown is not None:
            return self._unknown
        header, path = self._off_path[0]
        leg = path.leg(header.timeline)
        where = f"at {format_lsn(leg.end)}" if leg is not None and leg.end is not None else "before it was made"
        return PreconditionError(
            attempted,
            f"backup {header.backup_id} was made on timeline {header.timeline}, which timeline {path.timeline} has left"
            f" {where}: what it holds never happened there.",
            f"Choose an earlier backup, or give the target timeline {header.timeline} to recover what was abandoned.",
            code="backup_on_other_timeline",
            timeline=header.timeline,
        )


def _precedes(header: Header, target: RecoveryTarget) -> bool:
    """Whether the backup is whole before the target, as far as its header tells."""
    if target.time is not None:
        return parse_utc(header.stop_time) <= target.time
    if target.lsn is not None:
        return header.stop_lsn <= target.lsn
    if target.xid is not None:
        return not is_earlier_xid(target.xid, _next_xid(header))
    return True


def is_earlier_xid(xid: int, than: int) -> bool:
    """Transaction numbers go round: half of them are earlier than any, as PostgreSQL has it."""
    return (xid - than) & _XID_MASK >= _HALF_OF_ALL_XIDS


def _next_xid(header: Header) -> int:
    return control_file.parse(base64.b64decode(header.control_file)).next_xid


def _earliest(headers: Sequence[Header], target: RecoveryTarget) -> str:
    """The earliest point that can be reached, in the target's own terms."""
    if target.time is not None:
        return min(header.stop_time for header in headers)
    if target.lsn is not None:
        return format_lsn(min(header.stop_lsn for header in headers))
    return f"transaction {_next_xid(headers[-1])}"  # the oldest backup's; the newest ones come first


def life_of(stanza: Stanza, header: Header) -> Incarnation:
    """The incarnation a backup belongs to."""
    life = stanza.life(header.incarnation)
    stanza.require_same_cluster(life, header.system_identifier, header.major_version)
    return life


def needed_segments(header: Header) -> list[WalSegment]:
    """The WAL without which the backup is not consistent."""
    return list(segments_between(header.start_lsn, header.stop_lsn, header.timeline, header.wal_segment_bytes))


def gaps(archive: WalArchive, header: Header) -> Iterator[str]:
    """Missing segments on the backup's timeline, from its start to the newest archived one."""
    size = header.wal_segment_bytes
    expected = segment_of(header.start_lsn, header.timeline, size)
    for archived in archive.segments(header.timeline, first=expected.name):
        present = parse_segment_name(archived.file_name, size)
        for number in range(expected.number, present.number):
            yield WalSegment(header.timeline, number, size).name
        expected = WalSegment(header.timeline, present.number + 1, size)
    for segment in needed_segments(header):
        if segment.number >= expected.number:
            yield segment.name


def missing_wal(header: Header, segments: list[str]) -> IntegrityError:
    """The error for WAL that a recovery would need."""
    more = f" and {len(segments) - 1} more." if segments[1:] else "."
    return IntegrityError(
        f"checking the WAL for backup {header.backup_id}",
        f"the segment {segments[0]} is missing in the archive{more}",
        "Bring it back from another copy, choose a backup made after the gap, or a target time before it.",
        code="wal_gap",
        missing=segments[:100],
    )
