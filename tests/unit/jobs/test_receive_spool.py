# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A receiver's spool: where to go on, what a failover has left behind, what has come of a segment."""

from __future__ import annotations

from pathlib import Path

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.receive.spool import (
    ReceiveSpool,
    SpoolOwner,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.timeline_path import path_to
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.wal_names import WalSegment

SIZE = 1 << 20
OWNER = SpoolOwner("main", "abc", 7, 17, SIZE)
# timeline 2 left timeline 1 in the middle of segment 5
HISTORY = f"1\t0/{5 * SIZE + 4096:X}\tby promotion\n".encode()


@pytest.fixture
def spool(tmp_path: Path) -> ReceiveSpool:
    made = ReceiveSpool(tmp_path / "spool")
    made.make()
    return made


def put(spool: ReceiveSpool, timeline: int, number: int, suffix: str = "", content: bytes = b"") -> WalSegment:
    segment = WalSegment(timeline, number, SIZE)
    (spool.wal / (segment.name + suffix)).write_bytes(content)
    return segment


def test_an_empty_spool_does_not_know_where_to_go_on(spool: ReceiveSpool) -> None:
    assert spool.next_segment(SIZE) is None


def test_it_goes_on_behind_the_newest_or_with_the_unfinished_one(spool: ReceiveSpool) -> None:
    put(spool, 1, 3)
    assert spool.next_segment(SIZE) == WalSegment(1, 4, SIZE)
    put(spool, 1, 5, ".partial")
    assert spool.next_segment(SIZE) == WalSegment(1, 5, SIZE)
    put(spool, 2, 5, ".partial")
    assert spool.next_segment(SIZE) == WalSegment(2, 5, SIZE)


def test_what_a_promotion_has_left_is_everything_from_the_fork_on(spool: ReceiveSpool) -> None:
    put(spool, 1, 4)
    left = [put(spool, 1, 5), put(spool, 1, 6, ".partial")]
    put(spool, 2, 5, ".partial")
    way = path_to(2, HISTORY)
    assert spool.left_behind(way, SIZE) == left
    folder = spool.set_aside(left, SystemClock())
    assert sorted(path.name for path in folder.iterdir()) == [left[0].name, f"{left[1].name}.partial"]
    assert spool.left_behind(way, SIZE) == []


@pytest.mark.parametrize("length", [0, 1, 8191, SIZE - 1, SIZE, SIZE + 1, 2 * SIZE])
def test_the_beginning_ends_with_the_last_byte_that_is_not_zero(spool: ReceiveSpool, length: int) -> None:
    content = (b"\0" * (length - 1) + b"x") if length else b""
    segment = put(spool, 1, 1, ".partial", content + bytes(4 * SIZE - length))
    assert spool.beginning(segment) == content


def test_a_seed_takes_nothing_away(spool: ReceiveSpool) -> None:
    segment = put(spool, 1, 1, ".partial", b"something")
    spool.seed(segment)
    assert spool.path(segment, partial=True).read_bytes() == b"something"


def test_a_segment_that_was_not_laid_out_to_its_end_is_begun_anew(spool: ReceiveSpool) -> None:
    whole = put(spool, 1, 1, ".partial", b"x".ljust(SIZE, b"\0"))
    torn = put(spool, 1, 2, ".partial", bytes(SIZE // 2))
    strange = put(spool, 1, 3, ".partial", b"x".ljust(SIZE // 2, b"\0"))
    spool.mend(SIZE, SystemClock())
    sizes = [spool.path(each, partial=True).stat().st_size for each in (whole, torn, strange)]
    assert sizes == [SIZE, 0, 0]
    assert [path.name for path in spool.root.glob("aside/*/*")] == [f"{strange.name}.partial"]


def test_a_spool_stays_with_its_cluster(spool: ReceiveSpool) -> None:
    spool.belong_to(OWNER)
    spool.belong_to(OWNER)
    with expect.failure("spool_of_another_cluster"):
        spool.belong_to(SpoolOwner("main", "another", 7, 17, SIZE))


def test_a_spool_begun_anew_is_empty_and_nobodys_and_nothing_of_it_is_lost(spool: ReceiveSpool) -> None:
    spool.belong_to(OWNER)
    there = [put(spool, 1, 3), put(spool, 1, 4, ".partial", b"x")]
    (spool.wal / "00000002.history").write_bytes(HISTORY)
    spool.debts(OWNER).owe("cellar", there[0].name)
    spool.debts(OWNER).owe("attic", there[0].name)
    (spool.lock.parent / "owed/attic" / there[0].name).unlink()
    assert spool.begin_anew(SystemClock()) == {"cellar": [there[0].name]}
    assert (spool.owner(), spool.next_segment(SIZE), spool.histories()) == (None, None, [])
    aside = {path.name for path in spool.root.glob("aside/*/*") if path.is_file()}
    assert aside == {there[0].name, f"{there[1].name}.partial", "00000002.history"}
    spool.belong_to(SpoolOwner("main", "def", 8, 18, SIZE))
