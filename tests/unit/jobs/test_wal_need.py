# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which WAL kept backups need. What names suggest is wrong as soon as there are two timelines."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.retention.wal_need import (
    Histories,
    WalNeed,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.timelines import Fork
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.wal_names import WalSegment
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import Header
from made import SEGMENT_BYTES, header


def segment(timeline: int, number: int) -> str:
    return WalSegment(timeline, number, SEGMENT_BYTES).name


def run_of(timeline: int, first: int, last: int) -> list[str]:
    return [segment(timeline, number) for number in range(first, last + 1)]


def backup(timeline: int, start: float, stop: float) -> Header:
    """A backup whose WAL begins and ends in these segments."""
    start_lsn, stop_lsn = int(start * SEGMENT_BYTES), int(stop * SEGMENT_BYTES)
    return header(timeline=timeline, start_lsn=start_lsn, stop_lsn=stop_lsn)


def fork(timeline: int, segment: float) -> Fork:
    return Fork(timeline, int(segment * SEGMENT_BYTES))


def needed(
    archived: Iterable[str],
    to_any_point: Iterable[Header],
    to_their_end: Iterable[Header] = (),
    histories: Histories | None = None,
    *,
    is_over: bool = False,
) -> list[str]:
    """Of the archived files those that stay."""
    files = list(archived)
    need = WalNeed(list(to_any_point), list(to_their_end), histories or {}, SEGMENT_BYTES)
    gone = need.unneeded(files, is_over=is_over)
    assert set(gone) <= set(files)
    return [name for name in files if name not in gone]


def test_from_the_oldest_kept_backup_on() -> None:
    backups = [backup(1, 5.5, 6.5), backup(1, 8.1, 8.2)]
    assert needed(run_of(1, 1, 10), backups) == run_of(1, 5, 10)


def test_older_backups_keep_what_makes_them_consistent() -> None:
    old, recent = [backup(1, 2.5, 3.5), backup(1, 5, 6)], [backup(1, 8.5, 8.7)]
    assert needed(run_of(1, 1, 10), recent, old) == [*run_of(1, 2, 3), segment(1, 5), *run_of(1, 8, 10)]


def test_what_belongs_to_a_segment_goes_with_it() -> None:
    archived = [
        f"{segment(1, 4)}.00000028.backup",
        f"{segment(1, 5)}.00000028.backup",
        f"{segment(1, 4)}.partial",
        f"{segment(1, 9)}.partial",
        "00000002.history",
        "00000009.history",
    ]
    histories = {2: [fork(1, 9.5)]}
    kept = [archived[1], *archived[3:]]
    assert needed([*archived, segment(2, 10)], [backup(1, 5, 5.5)], histories=histories) == [*kept, segment(2, 10)]


def test_after_a_promotion_both_sides_of_the_fork_are_needed() -> None:
    """wal-g#1564: the first backup after a failover made everything on the timeline before seem old."""
    archived = [*run_of(1, 1, 8), *run_of(2, 8, 12)]
    histories = {2: [fork(1, 8.5)]}
    assert needed(archived, [backup(1, 4, 5), backup(2, 10, 11)], histories=histories) == [
        *run_of(1, 4, 8),
        *run_of(2, 8, 12),
    ]
    assert needed(archived, [backup(2, 10, 11)], histories=histories) == run_of(2, 10, 12)


def test_a_higher_timeline_may_have_lower_locations() -> None:
    """wal-g#1869: after a recovery to an earlier point the new timeline's WAL is below the old timeline's."""
    archived = [*run_of(1, 1, 20), *run_of(2, 6, 9)]
    histories = {2: [fork(1, 6.5)]}
    old, new = backup(1, 15, 16), backup(2, 7, 8)
    assert needed(archived, [old, new], histories=histories) == [*run_of(1, 15, 20), *run_of(2, 7, 9)]
    assert needed(archived, [new], histories=histories) == run_of(2, 7, 9)


def test_a_backup_reaches_timelines_that_left_its_own_later_and_no_others() -> None:
    archived = [*run_of(1, 1, 9), *run_of(2, 3, 9), *run_of(3, 6, 9), *run_of(4, 8, 9), *run_of(5, 4, 9)]
    histories = {
        2: [fork(1, 3.5)],  # before the backup
        3: [fork(1, 6.5)],  # after it
        4: [fork(1, 6.5), fork(3, 8.5)],  # from the one that left after it
        5: [fork(1, 3.5), fork(2, 4.5)],  # from the one that left before it, and the newest
    }
    assert needed(archived, [backup(1, 5, 5.5)], histories=histories, is_over=True) == [
        *run_of(1, 5, 9),
        *run_of(3, 6, 9),
        *run_of(4, 8, 9),
    ]


def test_of_the_newest_timeline_nothing_goes_before_it_has_a_backup() -> None:
    archived = [*run_of(1, 1, 9), *run_of(2, 3, 4)]
    histories = {2: [fork(1, 3.5)]}
    assert needed(archived, [backup(1, 5, 5.5)], histories=histories) == [*run_of(1, 5, 9), *run_of(2, 3, 4)]
    assert needed(archived, [backup(1, 5, 5.5)], histories=histories, is_over=True) == run_of(1, 5, 9)


@pytest.mark.parametrize("histories", [{}, {2: None}])
def test_where_a_history_is_lost_everything_stays_that_could_be_needed(histories: Histories) -> None:
    archived = [*run_of(1, 1, 9), *run_of(2, 3, 9), *run_of(3, 9, 9)]
    known = {**histories, 3: [fork(1, 9)]}
    assert needed(archived, [backup(1, 5, 5.5)], histories=known) == [*run_of(1, 5, 9), *run_of(2, 5, 9), segment(3, 9)]


def test_an_incarnation_that_is_over_keeps_nothing_without_a_backup() -> None:
    assert needed([*run_of(1, 1, 3), "00000002.history"], [], is_over=True) == ["00000002.history"]


def test_no_recovery_from_a_kept_backup_ever_misses_a_segment() -> None:
    """Random families of timelines: whatever path from a backup one follows, all of its segments stay."""
    choose = random.Random(7)
    for _ignored in range(300):
        histories: dict[int, list[Fork]] = {1: []}
        begin, end = {1: 1.0}, {1: choose.uniform(5, 20)}
        for timeline in range(2, choose.randint(2, 6)):
            parent = choose.randrange(1, timeline)
            left = choose.uniform(begin[parent], end[parent])
            histories[timeline] = [*histories[parent], fork(parent, left)]
            begin[timeline], end[timeline] = left, left + choose.uniform(0.1, 10)
        archived = [name for each in histories for name in run_of(each, int(begin[each]), int(end[each]))]
        backups = []
        for _each in range(choose.randint(1, 4)):
            timeline = choose.choice(list(histories))
            start = choose.uniform(begin[timeline], end[timeline])
            backups.append(backup(timeline, start, choose.uniform(start, end[timeline])))
        lost = choose.random() < 0.3
        known: Histories = {each: None if lost and each == 2 else forks for each, forks in histories.items()}
        stays = set(needed(archived, backups, histories=known, is_over=True))
        for each in backups:
            for target in histories:
                path = [*histories[target], fork(target, end[target])]
                while path and path[0].timeline != each.timeline:
                    path.pop(0)
                if not path or path[0].lsn < each.stop_lsn:
                    continue  # it cannot be recovered to this timeline
                at = each.start_lsn // SEGMENT_BYTES
                for step in path:
                    last = step.lsn // SEGMENT_BYTES
                    assert set(run_of(step.timeline, at, last)) <= stays
                    at = last
