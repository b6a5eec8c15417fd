# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block maps: they come back as they were, and merging takes each page from where it is now."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.block_map import (
    DIGEST_BYTES,
    PAGE_BYTES,
    BlockMap,
    Run,
    changed_pages,
    differing,
    merge,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.map_format import parse, render
from made_maps import digests, frame, pages_of


def covering(*runs: tuple[int, int, int, str]) -> BlockMap:
    """A map of runs, one after another: pages, frame, start, pack."""
    made: list[Run] = []
    page = 0
    for count, number, start, pack in runs:
        made.append((page, count, frame(number, pack), start))
        page += count
    return merge(None, made, digests(page))


def drawn(choose: random.Random, pages: int, pack: str) -> BlockMap:
    """A map of so many pages."""
    runs = []
    while pages:
        count = choose.randint(1, min(pages, 5))
        runs.append((count, len(runs), choose.randint(0, 9) * 100, pack))
        pages -= count
    return covering(*runs)


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [(1, 0, 0, "a")],
        [(3, 4, 8192, "a"), (1, 4, 0, "a"), (2, 2**32 - 1, 0, "a"), (2, 1, 77, "b")],
    ],
)
def test_a_map_comes_back(runs: Sequence[tuple[int, int, int, str]]) -> None:
    block_map = covering(*runs)
    read = parse(render(block_map))
    assert (read.digests, pages_of(read)) == (block_map.digests, pages_of(block_map))


def test_pages_that_follow_one_another_are_stored_together() -> None:
    together = covering((1000, 1, 0, "a"))
    again = covering((500, 1, 0, "a"), (500, 1, 500 * PAGE_BYTES, "a"))
    assert render(together) == render(again)
    assert len(render(again)) == 20 + 16 + 20 + 12 + 1000 * DIGEST_BYTES


def test_frames_that_nothing_needs_any_more_are_left_out() -> None:
    old = covering((5, 0, 0, "a"), (5, 1, 0, "a"))
    new = merge(old, [(0, 5, frame(7, "b"), 0)], digests(10))
    assert new.places.packs() == {"a" * 32, "b" * 32}
    assert set(parse(render(new)).places.frames) == {frame(1, "a"), frame(7, "b")}


def test_merging_takes_new_pages_where_there_are_and_old_ones_elsewhere() -> None:
    choose = random.Random(1)
    for _ignored in range(300):
        old_pages, new_pages = choose.randint(0, 30), choose.randint(0, 30)
        old = drawn(choose, old_pages, "a")
        expected: list[object] = [*pages_of(old), *[None] * new_pages][:new_pages]
        changed: list[Run] = []
        page = 0
        while page < new_pages:
            if page >= old_pages or choose.random() < 0.4:
                count = choose.randint(1, min(4, new_pages - page))
                changed.append((page, count, frame(page, "b"), 0))
                expected[page : page + count] = [(frame(page, "b"), each * PAGE_BYTES) for each in range(count)]
                page += count
            else:
                page += 1
        choose.shuffle(changed)
        assert pages_of(merge(old, changed, digests(new_pages))) == expected


def test_what_has_not_changed_is_the_very_same_map() -> None:
    old = covering((3, 0, 0, "a"))
    assert merge(old, [], old.digests) is old
    assert merge(old, [], old.digests[:-DIGEST_BYTES]).pages == 2


def test_a_page_that_is_nowhere_is_an_error() -> None:
    with expect.failure("block_map_incomplete"):
        merge(covering((2, 0, 0, "a")), [], digests(3))
    with expect.failure("block_map_incomplete"):
        merge(None, [(1, 1, frame(0), 0)], digests(2))


def test_pages_differ_by_any_of_their_bytes_and_where_there_were_none() -> None:
    choose = random.Random(2)
    for _ignored in range(200):
        known = choose.randbytes(choose.randint(0, 20) * DIGEST_BYTES)
        new = bytearray(known[: choose.randint(0, 20) * DIGEST_BYTES])
        new += choose.randbytes(choose.randint(0, 3) * DIGEST_BYTES)
        for _other in range(choose.randint(0, 4)):
            if new:
                new[choose.randrange(len(new))] ^= 1 << choose.randrange(8)
        pages = range(len(new) // DIGEST_BYTES)
        expected = [page for page in pages if new[page * 16 : page * 16 + 16] != known[page * 16 : page * 16 + 16]]
        assert changed_pages(new, known).tolist() == expected
        ranges = differing(new, known)
        assert [page for start, end in ranges for page in range(start, end)] == expected
        assert all(end < start for (_start, end), (start, _end) in zip(ranges, ranges[1:]))


def test_a_map_that_is_cut_or_does_not_add_up_is_an_error() -> None:
    text = render(covering((3, 0, 0, "a"), (1, 1, 0, "a")))
    for length in range(len(text)):
        with expect.failure("block_map_invalid"):
            parse(text[:length])
    first_run = struct.pack("<III", 3, 0, 0)
    assert first_run in text
    other_runs = [(2, 0, 0), (3, 2, 0), (3, 0, 2**32 - 3 * PAGE_BYTES)]  # too few pages, no such frame, too long
    for wrong in (
        text + b"x",
        b"LBM2" + text[4:],
        text[:-64] + digests(5),
        *(text.replace(first_run, struct.pack("<III", *run)) for run in other_runs),
    ):
        with expect.failure("block_map_invalid"):
            parse(wrong)
