# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block maps: they come back as they were, and merging takes each page from where it is now."""

from __future__ import annotations

import random
import struct

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.block_map import (
    DIGEST_BYTES,
    PAGE_BYTES,
    BlockMap,
    Run,
    merge,
    parse,
    render,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.packs import PlacedFrame
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.sealed import Frame

Page = tuple[PlacedFrame, int]


def frame(number: int, pack: str = "a") -> PlacedFrame:
    return PlacedFrame(pack * 32, Frame(number, 41 + 1000 * number, 1000))


def digests(pages: int) -> bytes:
    return bytes(pages * DIGEST_BYTES)


def pages_of(block_map: BlockMap) -> list[Page]:
    """Each page's frame and place in it, one by one."""
    return [(run.placed, run.start + page * PAGE_BYTES) for run in block_map.runs for page in range(run.pages)]


def drawn(choose: random.Random, pages: int, pack: str) -> tuple[Run, ...]:
    """Runs that cover so many pages."""
    runs = []
    while pages:
        count = choose.randint(1, min(pages, 5))
        runs.append(Run(count, frame(len(runs), pack), choose.randint(0, 9) * PAGE_BYTES))
        pages -= count
    return tuple(runs)


@pytest.mark.parametrize(
    "block_map",
    [
        BlockMap(b"", ()),
        BlockMap(b"d" * DIGEST_BYTES, (Run(1, frame(0), 0),)),
        BlockMap(
            bytes(range(128)),
            (Run(3, frame(4), 8192), Run(1, frame(4), 0), Run(2, frame(2**32 - 1), 0), Run(2, frame(1, "b"), 16384)),
        ),
    ],
)
def test_a_map_comes_back(block_map: BlockMap) -> None:
    assert parse(render(block_map)) == block_map


def test_merging_takes_new_pages_where_there_are_and_old_ones_elsewhere() -> None:
    choose = random.Random(1)
    for _ignored in range(300):
        old_pages, new_pages = choose.randint(0, 30), choose.randint(0, 30)
        old = BlockMap(digests(old_pages), drawn(choose, old_pages, "a"))
        expected: list[Page | None] = [*pages_of(old), *[None] * new_pages][:new_pages]
        changed, page = [], 0
        while page < new_pages:
            if page >= old_pages or choose.random() < 0.4:
                run = Run(choose.randint(1, min(4, new_pages - page)), frame(page, "b"), 0)
                changed.append((page, run))
                expected[page : page + run.pages] = pages_of(BlockMap(b"", (run,)))
                page += run.pages
            else:
                page += 1
        assert pages_of(merge(old, changed, digests(new_pages))) == expected


def test_a_page_that_is_nowhere_is_an_error() -> None:
    old = BlockMap(digests(2), (Run(2, frame(0), 0),))
    with expect.failure("block_map_incomplete"):
        merge(old, [], digests(3))
    with expect.failure("block_map_incomplete"):
        merge(None, [(1, Run(1, frame(0), 0))], digests(2))


def test_a_map_that_is_cut_or_does_not_add_up_is_an_error() -> None:
    text = render(BlockMap(bytes(range(64)), (Run(3, frame(0), 0), Run(1, frame(1), 0))))
    for length in range(len(text)):
        with expect.failure("block_map_invalid"):
            parse(text[:length])
    first_run, shorter = struct.pack("<III", 3, 0, 0), struct.pack("<III", 2, 0, 0)
    assert first_run in text
    for wrong in (text + b"x", b"LBM2" + text[4:], text[:-64] + digests(5), text.replace(first_run, shorter)):
        with expect.failure("block_map_invalid"):
            parse(wrong)
