# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choosing the backup for a target, and refusing targets that cannot be reached, before anything is touched."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from ..clock import parse_utc
from ..errors import IntegrityError, PreconditionError
from ..postgres.recovery_settings import RecoveryTarget
from ..postgres.wal_names import WalSegment, parse_segment_name, segment_of, segments_between
from ..repository.manifest import Header
from ..repository.stanza import Incarnation, Stanza
from ..repository.wal import WalArchive

LATEST = "latest"


def backup_for(stanza: Stanza, backup: str, target: RecoveryTarget, now: datetime) -> Header:
    """The asked backup, or the newest one that ended before the target."""
    attempted = f"choosing a backup of {stanza.name}"
    if target.time is not None and target.time > now:
        raise PreconditionError(
            attempted,
            f"the target {target.time.isoformat()} is in the future (it is {now.isoformat(timespec='seconds')}).",
            "Give a time in the past, with its zone.",
            code="target_in_future",
        )
    candidates = stanza.headers() if backup == LATEST else [stanza.header(backup)]
    if not candidates:
        raise PreconditionError(
            attempted, "there is no backup.", "Make one first with the module pg_backup.", code="no_backup"
        )
    if target.time is None:
        return candidates[-1]
    before = [header for header in candidates if parse_utc(header.stop_time) <= target.time]
    if not before:
        earliest = min(header.stop_time for header in candidates)
        raise PreconditionError(
            attempted,
            f"the target {target.time.isoformat()} is before the end of the first usable backup.",
            f"The earliest point that can be reached is {earliest}.",
            code="target_before_first_backup",
            earliest=earliest,
        )
    return before[-1]


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


def require_recoverable(archive: WalArchive, header: Header, target: RecoveryTarget) -> list[str]:
    """Refuse a backup whose own WAL is incomplete, and "everything" when something is missing.

    A time may lie before a gap, so there it is only reported; recovery stops at the gap, not in
    a database that silently lacks what came after.
    """
    missing = list(gaps(archive, header))
    needed = {segment.name for segment in needed_segments(header)}
    fatal = [name for name in missing if name in needed] or ([] if target.time else missing)
    if fatal:
        raise missing_wal(header, fatal)
    return missing
