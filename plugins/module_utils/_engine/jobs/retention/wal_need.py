# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which archived WAL kept backups need, across timelines. Nothing here touches anything.

A backup can be recovered along its own timeline, and to every timeline that left that one after
the backup's start. Names say nothing about this: after a recovery to an earlier point a higher
timeline has lower locations, so each timeline is judged by its own history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Optional

from ...postgres.timelines import Fork
from ...postgres.wal_names import WalFileKind, WalSegment, classify, parse_segment_name
from ...repository.manifest import Header

# For each timeline the forks that led to it; None when its history cannot be read.
Histories = Mapping[int, Optional[Sequence[Fork]]]


class WalNeed:
    """What the kept backups of one incarnation need.

    Those in `to_any_point` can be recovered to any point behind them, those in `to_their_end` only to their own end.
    """

    def __init__(
        self,
        to_any_point: Sequence[Header],
        to_their_end: Sequence[Header],
        histories: Histories,
        segment_bytes: int,
    ) -> None:
        self._to_any_point = to_any_point
        self._histories = histories
        self._size = segment_bytes
        self._ranges: dict[int, list[range]] = {}
        for header in to_their_end:
            segments = range(header.start_lsn // segment_bytes, -(-header.stop_lsn // segment_bytes))
            self._ranges.setdefault(header.timeline, []).append(segments)
        self._from: dict[int, int | None] = {}

    def unneeded(self, file_names: Iterable[str], *, is_over: bool = False) -> list[str]:
        """Of these archived files those that no kept backup needs. History files are always needed: they are the map.

        Unless the incarnation `is_over`, its newest timeline is probably being written, and a backup may be about to
        begin on it: of that one nothing is given up before a backup is there.
        """
        located = [(name, parse_segment_name(name, self._size)) for name in file_names if _has_place(name)]
        newest = 0 if is_over else max((segment.timeline for _name, segment in located), default=0)
        return [name for name, segment in located if not self._needs(segment, newest)]

    def _needs(self, segment: WalSegment, newest: int) -> bool:
        timeline, number = segment.timeline, segment.number
        if timeline not in self._from:
            self._from[timeline] = self._needed_from(timeline, newest)
        first = self._from[timeline]
        if first is not None and number >= first:
            return True
        return any(number in segments for segments in self._ranges.get(timeline, ()))

    def _needed_from(self, timeline: int, newest: int) -> int | None:
        """The first segment of a timeline that recovery to any point may need; None when it needs none."""
        firsts = [self._first_for(header, timeline) for header in self._to_any_point]
        needed = [first for first in firsts if first is not None]
        if needed:
            return min(needed)
        return 0 if timeline == newest else None

    def _first_for(self, header: Header, timeline: int) -> int | None:
        start = header.start_lsn // self._size
        if timeline == header.timeline:
            return start
        if timeline < header.timeline:
            return None  # timelines only ever lead to higher ones
        history = self._histories.get(timeline)
        if history is None:
            return start  # where it came from is not known: all that could possibly be needed
        left = [fork for fork in history if fork.timeline == header.timeline]
        return 0 if left and left[-1].lsn > header.start_lsn else None


def _has_place(file_name: str) -> bool:
    return classify(file_name) in (WalFileKind.SEGMENT, WalFileKind.PARTIAL, WalFileKind.BACKUP_HISTORY)
