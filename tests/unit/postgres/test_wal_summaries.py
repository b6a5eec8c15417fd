# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL summaries: which pages may have changed, and when that is not known."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import checksums
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres import wal_summaries
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.data_directory import (
    Fork,
    RelationSegment,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.wal_summaries import (
    ChangedBlocks,
    Summary,
    chain,
    there,
    union,
)
from made_summaries import CHUNK, entry, summary

SEGMENT = RelationSegment(1663, 1, 1, Fork.MAIN, 0)
SECOND = RelationSegment(1663, 1, 1, Fork.MAIN, 1)
PAGES = 131072


def changed(summaries: list[Summary]) -> ChangedBlocks:
    found = union(summaries)
    assert found is not None
    return found


def pages(found: ChangedBlocks, segment: RelationSegment, count: int) -> list[int]:
    flags = found.pages(segment, count)
    assert flags is not None and len(flags) == count
    return list(flags.nonzero()[0])


@pytest.mark.parametrize("as_bits", [False, True])
def test_each_file_of_a_relation_gets_its_blocks(tmp_path: Path, as_bits: bool) -> None:
    blocks = [0, 7, 65535, 65536, 131071, 131072, 131080, 200000]
    found = changed([summary(tmp_path, 1, 2, entry(blocks, as_bits=as_bits))])
    assert pages(found, SEGMENT, PAGES) == [0, 7, 65535, 65536, 131071]
    assert pages(found, SECOND, PAGES) == [0, 8, 200000 - PAGES]
    assert pages(found, SEGMENT, 100) == [0, 7]


def test_summaries_add_up(tmp_path: Path) -> None:
    first = summary(tmp_path, 1, 2, entry([1, 2]), entry([5], (1664, 0, 9)))
    second = summary(tmp_path, 2, 3, entry([2, 3]), entry([CHUNK + 1], (1663, 1, 2), as_bits=True))
    found = changed([first, second])
    assert pages(found, SEGMENT, 10) == [1, 2, 3]
    assert pages(found, RelationSegment(1664, 0, 9, Fork.MAIN, 0), 10) == [5]
    assert pages(found, RelationSegment(1663, 1, 2, Fork.MAIN, 0), PAGES) == [CHUNK + 1]
    assert pages(found, RelationSegment(1663, 1, 77, Fork.MAIN, 0), 10) == []


def test_from_where_a_relation_was_cut_everything_has_changed(tmp_path: Path) -> None:
    first = summary(tmp_path, 1, 2, entry([1], limit=PAGES + 5))
    second = summary(tmp_path, 2, 3, entry([2], limit=PAGES + 7))
    found = changed([first, second])
    assert pages(found, SEGMENT, PAGES) == [1, 2]
    assert pages(found, SECOND, 10) == [5, 6, 7, 8, 9]
    made = changed([summary(tmp_path, 3, 4, entry([], limit=0))])
    assert pages(made, SEGMENT, 3) == [0, 1, 2]


def test_of_other_forks_they_say_nothing(tmp_path: Path) -> None:
    found = changed([summary(tmp_path, 1, 2, entry([1]), entry([2], fork=2), entry([], fork=1, limit=0))])
    assert pages(found, SEGMENT, 10) == [1]
    for fork in (Fork.VISIBILITY_MAP, Fork.FREE_SPACE_MAP, Fork.INIT):
        assert found.pages(RelationSegment(1663, 1, 1, fork, 0), 10) is None


def test_of_a_database_that_was_copied_nothing_is_known(tmp_path: Path) -> None:
    found = changed([summary(tmp_path, 1, 2, entry([], (1663, 1, 0), limit=0))])
    assert found.pages(SEGMENT, 10) is None
    assert pages(found, RelationSegment(1663, 2, 1, Fork.MAIN, 0), 10) == []


def test_what_is_there_is_found_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "pg_wal/summaries"
    assert there(tmp_path, 1) == []
    made = [summary(folder, start, start + 10) for start in (0x1_0000_0028, 0x28, 0x38)]
    summary(folder, 0x28, 0x48, timeline=2)
    (folder / "temp.summary").touch()
    assert there(tmp_path, 1) == [made[1], made[2], made[0]]


def links(*ranges: tuple[int, int]) -> list[Summary]:
    return [Summary(Path("unused"), 1, start, end) for start, end in sorted(ranges)]


@pytest.mark.parametrize(
    ("ranges", "reached", "needed"),
    [
        ([], 100, []),
        ([(100, 200)], 200, [(100, 200)]),
        ([(50, 150), (150, 250)], 250, [(50, 150), (150, 250)]),
        ([(50, 80), (80, 210)], 210, [(80, 210)]),
        ([(90, 150), (151, 250)], 150, [(90, 150)]),
        ([(101, 250)], 100, []),
        ([(100, 200), (200, 300)], 200, [(100, 200)]),
        ([(100, 110), (100, 140), (120, 130), (140, 200)], 200, [(100, 110), (100, 140), (140, 200)]),
    ],
)
def test_a_chain_has_no_gap(ranges: list[tuple[int, int]], reached: int, needed: list[tuple[int, int]]) -> None:
    found, end = chain(links(*ranges), 100, 200)
    assert ([(each.start, each.end) for each in found], end) == (needed, reached)


@pytest.mark.parametrize("position", [0, 4, 20, 30, -30, -1])
def test_a_flipped_bit_is_found(tmp_path: Path, position: int) -> None:
    made = summary(tmp_path, 1, 2, entry([1, 2, 3]))
    data = bytearray(made.path.read_bytes())
    data[position] ^= 1
    made.path.write_bytes(data)
    with expect.failure("wal_summary_damaged"):
        union([made])


@pytest.mark.parametrize("length", [0, 3, 8, 40])
def test_a_file_that_is_cut_is_found(tmp_path: Path, length: int) -> None:
    made = summary(tmp_path, 1, 2, entry([1, 2, 3]))
    made.path.write_bytes(made.path.read_bytes()[:length])
    with expect.failure("wal_summary_damaged"):
        union([made])


def test_entries_that_lead_beyond_the_file_are_damage(tmp_path: Path) -> None:
    """With a checksum that is right: nothing may be read that is not there."""
    whole = entry([1, 2, 3])
    too_many_chunks = whole[:20] + b"\xff\xff\xff\x00" + whole[24:]
    too_many_elements = whole[:24] + b"\xff\xff" + whole[26:]
    for entries in ([too_many_chunks], [too_many_chunks, b"\x00"], [too_many_elements]):
        with expect.failure("wal_summary_damaged"):
            union([summary(tmp_path, 1, 2, *entries)])


def test_what_has_been_removed_or_is_too_much_or_cannot_be_checked_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = summary(tmp_path, 1, 2, entry([1]))
    assert union([made]) is not None
    with monkeypatch.context() as patch:
        patch.setattr(wal_summaries, "_MOST_BYTES", 10)
        assert union([made]) is None
    with monkeypatch.context() as patch:
        patch.setattr(checksums, "crc32c", lambda data: None)
        assert union([made]) is None
    made.path.unlink()
    assert union([made]) is None


def test_they_take_hardly_more_memory_than_the_files_do(tmp_path: Path) -> None:
    """Even when each entry is as small as it can be (I9)."""
    made = [
        summary(tmp_path, start, start + 1, *(entry([7], (1663, 1, number)) for number in range(1, 3000)))
        for start in (1, 2, 3)
    ]
    bytes_there = sum(each.path.stat().st_size for each in made)
    changed(made[:1])  # what is imported for it counts for nothing
    tracemalloc.start()
    try:
        found = changed(made)
        _kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert pages(found, RelationSegment(1663, 1, 2999, Fork.MAIN, 0), 10) == [7]
    assert most < 5 * bytes_there


def test_relations_of_the_same_number_are_kept_apart(tmp_path: Path) -> None:
    """In other databases and tablespaces, and with the smallest and the largest number there is."""
    largest = 0xFFFFFFFF
    places = [(1663, 1, 1), (1663, 2, 1), (1700, 1, 1), (1663, 1, largest), (1663, 1, largest - 1)]
    found = changed([summary(tmp_path, 1, 2, *(entry([block], place) for block, place in enumerate(places)))])
    for block, (tablespace, database, filenode) in enumerate(places):
        assert pages(found, RelationSegment(tablespace, database, filenode, Fork.MAIN, 0), 10) == [block]
