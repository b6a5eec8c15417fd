# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backup for a target, and what is refused before anything is touched."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore import choose
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.recovery_settings import (
    RecoveryTarget,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import Header
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Incarnation, Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.wal import WalArchive
from made import SEGMENT_BYTES, header

NOW = datetime(2026, 1, 10, tzinfo=timezone.utc)


def day(number: float) -> datetime:
    return datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(days=number - 1)


@pytest.fixture
def three(stanza: Stanza, life: Incarnation) -> Stanza:
    """Backups that ended on the 1st, 2nd and 3rd."""
    for number in (1, 2, 3):
        publish(stanza, life, f"backup{number}", stop_time=f"2026-01-0{number}T00:00:00.000000Z")
    return stanza


def publish(stanza: Stanza, life: Incarnation, name: str, **changes: object) -> None:
    own = {"incarnation": life.incarnation, "system_identifier": life.system_identifier}
    stanza.publish(header(backup_id=name, **own, **changes), [])


# --- which backup


@pytest.mark.parametrize(
    ("target", "chosen"),
    [(None, "backup3"), (day(9), "backup3"), (day(3), "backup3"), (day(2.9), "backup2"), (day(1), "backup1")],
)
def test_it_is_the_newest_that_ended_before_the_target(three: Stanza, target: datetime | None, chosen: str) -> None:
    assert choose.backup_for(three, "latest", RecoveryTarget(target), NOW).backup_id == chosen


def test_zones_do_not_matter(three: Stanza) -> None:
    target = day(2).astimezone(timezone(timedelta(hours=-11)))
    assert choose.backup_for(three, "latest", RecoveryTarget(target), NOW).backup_id == "backup2"


def test_it_is_the_one_that_was_asked_for(three: Stanza) -> None:
    assert choose.backup_for(three, "backup1", RecoveryTarget(), NOW).backup_id == "backup1"
    assert choose.backup_for(three, "backup1", RecoveryTarget(day(5)), NOW).backup_id == "backup1"
    with expect.failure("backup_unknown"):
        choose.backup_for(three, "backup9", RecoveryTarget(), NOW)


def test_a_target_before_every_backup_is_refused_with_the_earliest_that_can_be_reached(three: Stanza) -> None:
    with expect.failure("target_before_first_backup") as failure:
        choose.backup_for(three, "latest", RecoveryTarget(day(0.5)), NOW)
    assert failure.value.details["earliest"] == "2026-01-01T00:00:00.000000Z"
    with expect.failure("target_before_first_backup"):
        choose.backup_for(three, "backup3", RecoveryTarget(day(2)), NOW)


def test_a_target_in_the_future_is_refused(three: Stanza) -> None:
    with expect.failure("target_in_future"):
        choose.backup_for(three, "latest", RecoveryTarget(NOW + timedelta(seconds=1)), NOW)
    assert choose.backup_for(three, "latest", RecoveryTarget(NOW), NOW)


def test_without_backups_there_is_nothing_to_choose(stanza: Stanza) -> None:
    with expect.failure("no_backup"):
        choose.backup_for(stanza, "latest", RecoveryTarget(), NOW)


def test_a_backup_of_another_cluster_under_the_same_life_is_refused(stanza: Stanza, life: Incarnation) -> None:
    own = header(incarnation=life.incarnation)
    assert choose.life_of(stanza, own) == life
    with expect.failure("stanza_of_another_cluster"):
        choose.life_of(stanza, header(incarnation=life.incarnation, system_identifier=1))
    with expect.failure("incarnation_missing"):
        choose.life_of(stanza, header(incarnation="of nobody"))


# --- along timelines


MEGABYTE = 1 << 20


@pytest.fixture
def forked(stanza: Stanza, life: Incarnation) -> Stanza:
    """Timeline 2 left timeline 1 at 5 MB; one backup each before, behind and on the new one."""
    archive = WalArchive(stanza, life)
    archive.store("00000002.history", b"1\t0/500000\tno reason\n")
    day_of = {"before": 1, "behind": 2, "new": 3}
    for name, timeline, start in (("before", 1, 2), ("behind", 1, 5), ("new", 2, 6)):
        stop_time = f"2026-01-0{day_of[name]}T00:00:00.000000Z"
        lsns = {"start_lsn": start * MEGABYTE + 40, "stop_lsn": start * MEGABYTE + 500}
        publish(stanza, life, name, timeline=timeline, stop_time=stop_time, **lsns)
    return stanza


@pytest.mark.parametrize(
    ("target", "chosen"),
    [
        (RecoveryTarget(), "new"),
        (RecoveryTarget(timeline=2), "new"),
        (RecoveryTarget(day(2.5)), "before"),  # not the one that was abandoned, though it is younger
        (RecoveryTarget(day(2.5), timeline=1), "behind"),
        (RecoveryTarget(timeline=1), "behind"),
        (RecoveryTarget(timeline="current"), "new"),
        (RecoveryTarget(lsn=6 * MEGABYTE), "before"),
        (RecoveryTarget(lsn=7 * MEGABYTE), "new"),
        (RecoveryTarget(lsn=6 * MEGABYTE, timeline=1), "behind"),
    ],
)
def test_a_backup_must_lie_on_the_way_to_the_target(forked: Stanza, target: RecoveryTarget, chosen: str) -> None:
    assert choose.backup_for(forked, "latest", target, NOW).backup_id == chosen


def test_a_backup_that_was_abandoned_is_refused_by_name(forked: Stanza) -> None:
    with expect.failure("backup_on_other_timeline") as failure:
        choose.backup_for(forked, "behind", RecoveryTarget(), NOW)
    assert "0/500000" in failure.value.happened and "target timeline 1" in failure.value.remedy
    assert choose.backup_for(forked, "behind", RecoveryTarget(timeline="current"), NOW).backup_id == "behind"


def test_a_timeline_that_nobody_knows_is_refused(forked: Stanza) -> None:
    with expect.failure("timeline_unknown") as failure:
        choose.backup_for(forked, "latest", RecoveryTarget(timeline=3), NOW)
    assert failure.value.details["timelines"] == [1, 2]


def test_transactions_go_round() -> None:
    assert choose.is_earlier_xid(100, 200) and not choose.is_earlier_xid(200, 100)
    assert not choose.is_earlier_xid(200, 200)
    assert choose.is_earlier_xid(0xFFFFFFFF, 5) and not choose.is_earlier_xid(5, 0xFFFFFFFF)
    assert not choose.is_earlier_xid((1 << 32) + 200, 100)  # with its epoch


# --- its WAL


def segment(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{number:016X}"


def archived(stanza: Stanza, life: Incarnation, *numbers: int, timeline: int = 1) -> WalArchive:
    archive = WalArchive(stanza, life)
    for number in numbers:
        archive.store(segment(number, timeline), b"%d" % number)
    return archive


@pytest.fixture
def backup(life: Incarnation) -> Header:
    """Needs segments 2 and 3."""
    return header(incarnation=life.incarnation)


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [
        ((2, 3), []),
        ((1, 2, 3, 4, 5), []),
        ((2, 3, 5, 8), [4, 6, 7]),
        ((3,), [2]),
        ((2,), [3]),
        ((2, 4), [3]),
        ((), [2, 3]),
        ((1,), [2, 3]),
        ((6,), [2, 3, 4, 5]),
    ],
)
def test_every_missing_segment_is_named(
    stanza: Stanza, life: Incarnation, backup: Header, numbers: tuple[int, ...], missing: list[int]
) -> None:
    archive = archived(stanza, life, *numbers)
    assert list(choose.gaps(archive, backup)) == [segment(number) for number in missing]


def test_other_timelines_and_partial_segments_fill_no_gap(stanza: Stanza, life: Incarnation, backup: Header) -> None:
    archive = archived(stanza, life, 2, 3, 5)
    archived(stanza, life, 4, timeline=2)
    archive.store(f"{segment(4)}.partial", b"")
    assert list(choose.gaps(archive, backup)) == [segment(4)]


def test_what_a_backup_needs_ends_where_its_last_byte_does(life: Incarnation) -> None:
    def needed(start: int, stop: int) -> list[str]:
        return [each.name for each in choose.needed_segments(header(start_lsn=start, stop_lsn=stop))]

    assert needed(2 * SEGMENT_BYTES, 3 * SEGMENT_BYTES) == [segment(2)]
    assert needed(2 * SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES + 1) == [segment(2), segment(3)]
