# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The very last WAL of an archive: what a receiver has shipped of a segment that was never finished.

It takes a segment's place only where the archive really ends. Where anything comes behind it, the
segment itself must be somewhere; where another timeline has left its own at or before its end, what
it holds may never have happened there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import IntegrityError
from ...postgres import timeline_path
from ...postgres.recovery_settings import RECOVERY_SIGNAL, STANDBY_SIGNAL
from ...postgres.wal_names import Lsn, WalFileKind, WalSegment, classify, parse_segment_name
from ...repository.partials import Partial
from ...repository.wal import WalArchive
from .timeline_map import TimelineMap


@dataclass(frozen=True)
class Ending:
    """An unfinished segment with which a way ends, and how far what was shipped of it reaches."""

    segment: WalSegment
    end: Lsn


def behind(archive: WalArchive, way: timeline_path.Path, last: WalSegment | None, size: int) -> Ending | None:
    """What may be replayed behind the last archived segment on a way, when nothing is missing before that."""
    following = way.segment((last.number if last else -1) + 1, size)
    partial = last_of(archive, following)
    return Ending(following, following.start_lsn + partial.length) if partial is not None else None


def last_of(archive: WalArchive, segment: WalSegment) -> Partial | None:
    """The partial that may stand for a segment which is not archived; None when there is none or it must not."""
    partial = archive.partials.newest(segment.timeline)
    if partial is None or partial.file_name != segment.name:
        return None
    if next(archive.segments(segment.timeline, first=segment.name), None) is not None:
        return None
    end = segment.start_lsn + segment.size
    for path in TimelineMap(archive).paths.values():
        leg = path.leg(segment.timeline)
        if leg is not None and leg.end is not None and leg.end <= end:
            return None
        if path.timeline > segment.timeline:
            later = WalSegment(path.timeline, segment.number, segment.size)
            if next(archive.segments(path.timeline, first=later.name), None) is not None:
                return None
    return partial


def content_of(archive: WalArchive, partial: Partial) -> bytes:
    """A whole segment: what was shipped, and zeros behind it, where recovery finds the end."""
    try:
        content = archive.partials.fetch(partial)
    except IntegrityError as exc:
        newer = archive.partials.newest(int(partial.file_name[:8], 16))
        if exc.code != "object_missing" or newer is None or newer.file_name != partial.file_name:
            raise
        content = archive.partials.fetch(newer)  # the receiver has replaced it since we looked
    return content.ljust(archive.life.wal_segment_bytes, b"\0")


def for_recovery(archive: WalArchive, file_name: str, destination: Path) -> bytes | None:
    """A segment's content for a server that recovers and then opens; None when it gets none.

    A standby would take the zeros for the end of what there is, stream the rest and not know where from.
    """
    if classify(file_name) is not WalFileKind.SEGMENT:
        return None
    directory = destination.absolute().parent.parent
    if not (directory / RECOVERY_SIGNAL).exists() or (directory / STANDBY_SIGNAL).exists():
        return None
    partial = last_of(archive, parse_segment_name(file_name, archive.life.wal_segment_bytes))
    return content_of(archive, partial) if partial is not None else None
