# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A map that is stored as changes to another is the same map, and takes what the changes take."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.block_map import (
    DIGEST_BYTES,
    PAGE_BYTES,
    BlockMap,
    Changes,
    merge,
    spread,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import FileEntry
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.map_changes import (
    StoredMap,
    changed,
    changes_to,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.map_format import (
    parse,
    parse_changes,
    render,
    render_changes,
)
from made_maps import frame, pages_of, places_of

CHOOSE = random.Random(1)


def digest() -> bytes:
    return CHOOSE.randbytes(DIGEST_BYTES)


def whole_map(pages: int) -> BlockMap:
    return merge(None, [(0, pages, frame(0), 0)] if pages else [], b"".join(digest() for _page in range(pages)))


def after(known: BlockMap, pages: int, written: int, pack: str) -> BlockMap:
    """The map when so many pages have been written to and the file has as many as said."""
    digests = bytearray(known.digests[: pages * DIGEST_BYTES])
    new = set(range(known.pages, pages)) | set(CHOOSE.sample(range(pages), min(written, pages)))
    digests += bytes(pages * DIGEST_BYTES - len(digests))
    for page in new:
        digests[page * DIGEST_BYTES : (page + 1) * DIGEST_BYTES] = digest()
    runs = [(page, 1, frame(page, pack), 0) for page in sorted(new)]
    return merge(known, runs, bytes(digests))


def test_changes_make_the_map_that_they_were_taken_from() -> None:
    for _repetition in range(100):
        whole = whole_map(CHOOSE.randint(0, 60))
        now = whole
        for pack in "bcd":  # changes to changes are changes to the whole map
            now = after(now, max(0, now.pages + CHOOSE.randint(-2, 2)), CHOOSE.randint(0, 4), pack)
            changes = changes_to(whole, now)
            if changes is not None:
                read = changed(whole, parse_changes(render_changes(changes)))
                assert (read.digests, pages_of(read)) == (now.digests, pages_of(now))


def test_a_page_that_is_again_what_it_was_is_taken_from_where_it_was() -> None:
    whole = whole_map(10)
    between = after(whole, 10, 3, "b")
    again = merge(between, [(0, 10, frame(7, "c"), 0)], whole.digests)
    changes = changes_to(whole, again)
    assert changes is not None
    assert (changes.pages.tolist(), changes.digests) == ([], b"")
    read = changed(whole, parse_changes(render_changes(changes)))
    assert (read.digests, pages_of(read)) == (whole.digests, pages_of(whole))


@pytest.mark.parametrize("pages", [1000, 100_000])
def test_they_take_what_has_changed_whatever_the_files_size(pages: int) -> None:
    whole = whole_map(pages)
    changes = changes_to(whole, after(whole, pages, 20, "b"))
    assert changes is not None
    assert len(render_changes(changes)) < 20 * 60 + 100


def test_when_much_has_changed_the_map_is_stored_whole() -> None:
    whole = whole_map(100)
    assert changes_to(whole, after(whole, 100, 25, "b")) is not None
    assert changes_to(whole, after(whole, 100, 26, "b")) is None


def test_a_file_knows_the_packs_of_both() -> None:
    whole = whole_map(100)
    now = after(whole, 100, 5, "b")
    changes = changes_to(whole, now)
    assert changes is not None
    stored = {frame(1, "m"): render(whole), frame(1, "n"): render_changes(changes)}
    entry = FileEntry("base/1/1", 100 * PAGE_BYTES, 0, 0o600, block_map=(frame(1, "m"),), map_changes=(frame(1, "n"),))
    loaded = StoredMap.load(entry, stored.__getitem__)
    assert (loaded.whole.digests, pages_of(loaded.whole)) == (whole.digests, pages_of(whole))
    assert (loaded.now.digests, pages_of(loaded.now)) == (now.digests, pages_of(now))
    assert loaded.packs() == {"a" * 32, "b" * 32}
    assert entry.packs() == ["m" * 32, "n" * 32]


def changes_of(file_pages: int, rows: list[tuple[int, int, int, int]], digests: bytes) -> Changes:
    """Changes by runs: first page, pages, frame, start."""
    pages, places = spread((frame(0), frame(1)), rows)
    return Changes(file_pages, pages, digests, places)


CHANGES = changes_of(9, [(2, 2, 0, 0), (7, 1, 1, 0)], bytes(range(48)))
FIRST_RUN, SECOND_RUN = struct.pack("<IIII", 2, 2, 0, 0), struct.pack("<IIII", 7, 1, 1, 0)


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda text: b"LBM1" + text[4:],
        lambda text: text + b"x",
        lambda text: text.replace(SECOND_RUN, struct.pack("<IIII", 3, 1, 1, 0)),
        lambda text: text.replace(SECOND_RUN, struct.pack("<IIII", 9, 1, 1, 0)),
        lambda text: text.replace(FIRST_RUN, struct.pack("<IIII", 2, 1, 0, 0)),
        lambda text: text.replace(FIRST_RUN, struct.pack("<IIII", 2, 2, 7, 0)),
        *(lambda text, length=length: text[:length] for length in range(0, 130, 7)),
    ],
)
def test_changes_that_do_not_add_up_are_an_error(spoiled: Callable[[bytes], bytes]) -> None:
    text = render_changes(CHANGES)
    read = parse_changes(text)
    assert (read.file_pages, read.pages.tolist(), read.digests) == (9, [2, 3, 7], CHANGES.digests)
    assert places_of(read.places) == places_of(CHANGES.places)
    with expect.failure("block_map_invalid"):
        parse_changes(spoiled(text))


def test_changes_to_a_shorter_map_must_bring_the_pages_that_it_has_not() -> None:
    with expect.failure("block_map_incomplete"):
        changed(whole_map(5), CHANGES)
    assert parse(render(changed(whole_map(7), changes_of(8, [(7, 1, 1, 0)], digest())))).pages == 8
