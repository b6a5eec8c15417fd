# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The timelines that an archive knows, and the WAL on the way to each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ...errors import PreconditionError
from ...postgres import timeline_path
from ...postgres.timeline_path import Path
from ...postgres.wal_names import Lsn, WalSegment, history_name, parse_segment_name, timeline_of
from ...repository.wal import WalArchive


class TimelineMap:
    """Every timeline with a history file or with segments; read once."""

    def __init__(self, archive: WalArchive) -> None:
        self.archive = archive
        self.paths: dict[int, Path] = {}
        for archived in archive.histories():
            number = timeline_of(archived.file_name)
            self.paths[number] = timeline_path.path_to(number, archive.fetch(archived))
        for path in list(self.paths.values()):
            for number in path.timelines:
                self.paths.setdefault(number, path.to_ancestor(number))
        for number in archive.timelines():
            self.paths.setdefault(number, timeline_path.first(number))

    def to(self, timeline: str | int, of_backup: int) -> Path:
        """The way to the `latest` timeline, to the backup's own (`current`), or to the one with this number."""
        if timeline == "latest":
            return timeline_path.newest([*self.paths.values(), timeline_path.first(of_backup)])
        number = of_backup if timeline == "current" else int(timeline)
        path = self.paths.get(number)
        if path is None and number == of_backup:
            return timeline_path.first(number)
        if path is None:
            known = sorted({*self.paths, of_backup})
            raise PreconditionError(
                f"looking for timeline {number} in the archive",
                f"there is neither {history_name(number)} nor a segment of it;"
                f" the archive knows {', '.join(map(str, known))}.",
                "Give one of these, or latest.",
                code="timeline_unknown",
                timelines=known,
            )
        return path

    def latest_through(self, timeline: int, lsn: int) -> Path:
        """The way to the newest timeline that can be reached from there."""
        through = [path for path in self.paths.values() if path.passes(timeline, lsn)]
        return timeline_path.newest([*through, self.to("current", timeline)])


@dataclass
class Stretch:
    """Archived WAL on a way, from a segment on, in order."""

    missing: list[str] = field(default_factory=list)
    last: WalSegment | None = None  # the newest one
    last_whole: WalSegment | None = None  # the newest one that nothing is missing in front of
    end: Lsn | None = None  # where the last one ends if it is no whole segment


def segments_on(archive: WalArchive, path: Path, start: int, size: int) -> Iterator[WalSegment]:
    """The archived segments on a way, from the number `start` on."""
    for leg in path.legs:
        begin = max(start, leg.begin // size)
        end = None if leg.end is None else leg.end // size
        if end is not None and begin >= end:
            continue
        for archived in archive.segments(leg.timeline, first=WalSegment(leg.timeline, begin, size).name):
            segment = parse_segment_name(archived.file_name, size)
            if end is not None and segment.number >= end:
                break
            yield segment


def stretch(archive: WalArchive, path: Path, start: int, size: int) -> Stretch:
    """What is there from the number `start` on, and what is missing before the newest."""
    found = Stretch()
    expected = start
    for segment in segments_on(archive, path, start, size):
        found.missing += [path.segment(number, size).name for number in range(expected, segment.number)]
        if not found.missing:
            found.last_whole = segment
        found.last = segment
        expected = segment.number + 1
    return found
