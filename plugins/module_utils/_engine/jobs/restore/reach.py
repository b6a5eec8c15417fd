# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the archived WAL leads from a backup to the target, known before anything is touched.

PostgreSQL stops at the first record behind the target and gives up when none comes. So the target
is held against the newest record of its kind that can be replayed: the last one before a gap, or
before the end of the archive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches

from ...errors import IntegrityError, LifeboatError, PreconditionError
from ...ports import ProcessRunner, ProgressSink
from ...postgres.programs import Programs
from ...postgres.recovery_settings import RecoveryTarget
from ...postgres.wal_names import Lsn, format_lsn, segment_of
from ...report.events import PhaseStarted, Warned
from ..wal import last_wal, timeline_map
from ..wal.search import RestorePoint, WalSearch
from ..wal.timeline_map import Stretch
from .choose import Choice, gaps, is_earlier_xid, missing_wal, needed_segments

_MOST_POINTS_NAMED = 5


@dataclass(frozen=True)
class Reach:
    """The backup to begin with, and what is missing behind it."""

    choice: Choice
    missing: list[str] = field(default_factory=list)
    lsn: Lsn | None = None  # where a named restore point is


class TargetSearch:
    """Decides which of the backups that may serve does."""

    def __init__(self, target: RecoveryTarget, programs: Programs, runner: ProcessRunner, sink: ProgressSink) -> None:
        self._target = target
        self._programs = programs
        self._runner = runner
        self._sink = sink

    def decide(self, choices: Sequence[Choice]) -> Reach:
        """The newest backup from which the target can be reached; an error when there is none."""
        target = self._target
        if target.name is not None:
            return self._to_name(choices, target.name)
        if target.xid is not None:
            choices = [self._before_transaction(choices, target.xid)]
        choice = choices[0]
        stretch = self._stretch(choice)
        if target.is_latest and stretch.missing:
            raise missing_wal(choice.header, stretch.missing)
        if target.lsn is not None:
            self._require_lsn(choice, stretch, target.lsn)
        elif target.time is not None or target.xid is not None:
            self._require_end(choice, stretch)
        return Reach(choice, stretch.missing)

    def _stretch(self, choice: Choice) -> Stretch:
        """The WAL there is for a backup; without its own it is good for nothing."""
        header = choice.header
        needed = needed_segments(header)
        own = [name for name in gaps(choice.archive, header) if name in {segment.name for segment in needed}]
        if own:
            raise missing_wal(header, own)
        first = segment_of(header.start_lsn, header.timeline, header.wal_segment_bytes).number
        found = timeline_map.stretch(choice.archive, choice.path, first, header.wal_segment_bytes)
        if found.last_whole is None or found.last_whole.number < needed[-1].number:
            found.last_whole = needed[-1]  # the last of them may be one in which the timeline was left
        if not found.missing:
            self._add_partial(choice, found)
        return found

    def _add_partial(self, choice: Choice, found: Stretch) -> None:
        """What a receiver has shipped of the segment behind the last one counts as far as it goes."""
        ending = last_wal.behind(choice.archive, choice.path, found.last_whole, choice.header.wal_segment_bytes)
        if ending is not None:
            found.last_whole = found.last = ending.segment
            found.end = ending.end

    def _search(self, choice: Choice) -> WalSearch:
        return WalSearch(choice.archive, choice.path, self._programs, self._runner)

    # --- a time or a transaction

    def _before_transaction(self, choices: Sequence[Choice], xid: int) -> Choice:
        """A backup during which the transaction ended is consistent only after that."""
        if not self._can_look():
            return choices[0]
        for choice in choices:
            with self._search(choice) as search:
                if all(end.xid != xid for segment in needed_segments(choice.header) for end in search.ends(segment)):
                    return choice
        raise PreconditionError(
            f"choosing a backup before the end of transaction {xid}",
            "it ended while the first usable backup was made.",
            "Choose a later target: that backup is consistent only behind it.",
            code="target_before_first_backup",
        )

    def _require_end(self, choice: Choice, stretch: Stretch) -> None:
        """Some transaction must end behind a time, and the given one, or a younger one, must be there."""
        if not self._can_look() or stretch.last_whole is None:
            return
        first = choice.header.stop_lsn // choice.header.wal_segment_bytes
        with self._search(choice) as search:
            found = search.newest_ends(stretch.last_whole, first)
        ends = [end for end in found if end.lsn >= choice.header.stop_lsn]
        newest = max((end.time for end in ends), default=None)
        if self._target.time is not None:
            reached = newest is not None and (
                newest > self._target.time or (newest == self._target.time and not self._target.inclusive)
            )
        else:
            reached = any(not is_earlier_xid(end.xid, self._target.xid or 0) for end in ends)
        if not reached:
            raise self._not_reached(choice, stretch, newest, max((end.xid for end in ends), default=None))

    def _not_reached(
        self, choice: Choice, stretch: Stretch, newest: datetime | None, newest_xid: int | None
    ) -> LifeboatError:
        if newest is None:
            last = "no transaction has ended there since the backup"
        else:
            who = f"transaction {newest_xid}, which ended at" if self._target.time is None else "one of"
            last = f"the last transaction there is {who} {newest.isoformat()}"
        return self._beyond(choice, stretch, last, newest.isoformat() if newest else "")

    def _beyond(self, choice: Choice, stretch: Stretch, last: str, latest: str) -> LifeboatError:
        """The target is behind what can be replayed."""
        attempted = f"recovering {choice.header.stanza} to {self._target.describe()}"
        if stretch.missing:
            return IntegrityError(
                attempted,
                f"the segment {stretch.missing[0]} is missing in the archive, and the target is not before it: {last}.",
                "Bring it back from another copy, choose a backup made after the gap, or a target before it.",
                code="wal_gap",
                missing=stretch.missing[:100],
                latest=latest,
            )
        return PreconditionError(
            attempted,
            f"the archived WAL ends before the target: {last}.",
            "Choose an earlier target, or leave the target out to recover everything that is archived. What is not"
            " archived yet comes with a switch of WAL on the server (SELECT pg_switch_wal()). Nothing was touched.",
            code="target_beyond_archive",
            latest=latest,
        )

    # --- a WAL location

    def _require_lsn(self, choice: Choice, stretch: Stretch, lsn: Lsn) -> None:
        """The WAL up to there must be there, without a gap, and on the way."""
        last, size = stretch.last_whole, choice.header.wal_segment_bytes
        end = stretch.end or ((last.number + 1) * size if last is not None else choice.header.stop_lsn)
        if lsn < end:
            self._require_record(choice, stretch, lsn)
            return
        last_text = f"the WAL on the way to timeline {choice.path.timeline} ends at {format_lsn(end)}"
        raise self._beyond(choice, stretch, last_text, format_lsn(end))

    def _require_record(self, choice: Choice, stretch: Stretch, lsn: Lsn) -> None:
        """In the last segment there may be nothing any more, as behind a switch: PostgreSQL would not stop there."""
        last = stretch.last_whole
        if last is None or lsn < last.start_lsn or not self._can_look():
            return
        with self._search(choice) as search:
            found = search.last_record(last)
        if found is None or found < lsn:
            text = f"the last record on the way to timeline {choice.path.timeline} is"
            text += f" at {format_lsn(found)}" if found is not None else f" before {format_lsn(last.start_lsn)}"
            raise self._beyond(choice, stretch, text, format_lsn(found if found is not None else last.start_lsn))

    # --- a restore point

    def _to_name(self, choices: Sequence[Choice], name: str) -> Reach:
        """Restore points are looked for backwards: from each backup to the next, the newest first."""
        if not self._can_look():
            return Reach(choices[0])
        self._sink.emit(PhaseStarted("looking for the restore point", name))
        seen: list[RestorePoint] = []
        later: Choice | None = None
        for choice in choices:
            stretch = self._stretch(choice)
            for point in self._points(choice, stretch, later):
                if point.name == name:
                    return Reach(choice, stretch.missing, point.lsn)
                seen.append(point)
            later = choice
        raise self._unknown(choices[-1], name, seen)

    def _points(self, choice: Choice, stretch: Stretch, later: Choice | None) -> Iterator[RestorePoint]:
        """The restore points that can be reached from a backup, up to where the search has been already."""
        header, size = choice.header, choice.header.wal_segment_bytes
        last = stretch.last_whole
        if last is None:
            return
        until = last.number if later is None else min(last.number, later.header.stop_lsn // size)
        with self._search(choice) as search:
            for number in range(header.stop_lsn // size, until + 1):
                segment = last if number == last.number else choice.path.segment(number, size)
                yield from (point for point in search.restore_points(segment) if point.lsn >= header.stop_lsn)

    def _unknown(self, oldest: Choice, name: str, seen: Sequence[RestorePoint]) -> PreconditionError:
        names = list(dict.fromkeys(point.name for point in sorted(seen, key=lambda point: point.lsn, reverse=True)))
        near = get_close_matches(name, names, _MOST_POINTS_NAMED) or names[:_MOST_POINTS_NAMED]
        return PreconditionError(
            f"looking for the restore point {name}",
            "the archived WAL behind the usable backups has none of this name"
            + (f"; it has {', '.join(near)}." if near else ", nor any other."),
            "Give the name of one that is there. One that was made just now is archived once WAL is switched.",
            code="restore_point_unknown",
            nearest=near,
            searched_from=oldest.header.backup_id,
        )

    def _can_look(self) -> bool:
        if self._programs.has("pg_waldump"):
            return True
        self._sink.emit(
            Warned("pg_waldump is not installed: whether the archived WAL reaches the target shows only at its end")
        )
        return False
