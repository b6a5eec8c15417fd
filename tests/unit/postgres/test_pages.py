# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Page checksums against the algorithm written out word by word. Pages of real servers are in the integration tests."""

from __future__ import annotations

import random
import struct

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres import pages
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.pages import (
    PAGE_BYTES,
    BadPage,
    PageProblem,
    bad_pages,
)

LSN = 0x2_0000_16B0


def folded_sums(page: bytes) -> int:
    """The hash of a page's content, by its definition; the checksum in it counts as zero."""
    words = struct.unpack("<2048I", page[:8] + bytes(2) + page[10:])
    sums = list(pages._INITIAL_SUMS)
    for position, word in enumerate((*words, *[0] * 64)):
        total = sums[position % 32] ^ word
        sums[position % 32] = total * 16777619 & 0xFFFFFFFF ^ total >> 17
    result = 0
    for total in sums:
        result ^= total
    return result


def noise(seed: int = 1, *, lower: int = 100, upper: int = 200, special: int = 8176, flags: int = 0) -> bytes:
    """A page of noise with a header that is valid unless told otherwise."""
    header = struct.pack("<IIHHHHHHI", LSN >> 32, LSN & 0xFFFFFFFF, 0, flags, lower, upper, special, 0x2004, 0)
    return header + random.Random(seed).randbytes(PAGE_BYTES - len(header))


def sealed(content: bytes, *blocks: int) -> bytes:
    """The same page for each of these places, with the checksum that it needs there."""
    folded = folded_sums(content)
    return b"".join(content[:8] + struct.pack("<H", (folded ^ block) % 65535 + 1) + content[10:] for block in blocks)


def flipped(buffer: bytes, position: int, mask: int = 1) -> bytes:
    return buffer[:position] + bytes([buffer[position] ^ mask]) + buffer[position + 1 :]


@pytest.mark.parametrize("first_block", [0, 7, 131071, 131072, 2**32 - 3])
def test_good_pages_are_good_in_their_own_place_only(first_block: int) -> None:
    buffer = b"".join(sealed(noise(seed), first_block + seed) for seed in range(3))
    assert bad_pages(buffer, first_block, checksums=True) == []
    assert len(bad_pages(buffer, first_block ^ 4, checksums=True)) == 3


def test_any_number_of_pages() -> None:
    count = 2 * pages._BATCH + 3
    buffer = sealed(noise(), *range(count))
    assert bad_pages(buffer, 0, checksums=True) == []
    damaged = [0, pages._BATCH - 1, pages._BATCH, 2 * pages._BATCH, count - 1]
    for block in damaged:
        buffer = flipped(buffer, block * PAGE_BYTES + 5000)
    assert [bad.block for bad in bad_pages(buffer, 0, checksums=True)] == damaged
    assert bad_pages(b"", 0, checksums=True) == []


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_read_in_place(kind: type) -> None:
    buffer = kind(sealed(noise(), 5))
    assert bad_pages(buffer, 5, checksums=True) == []
    odd = memoryview(b"x" + sealed(noise(), 5))[1:]  # not at an address that a word may have
    assert bad_pages(odd, 5, checksums=True) == []
    assert bytes(buffer) == sealed(noise(), 5)


def test_a_flipped_bit_anywhere_but_in_the_checksum_changes_the_checksum() -> None:
    good = sealed(noise(), 9)
    for position in (*range(8), *range(10, 32), 127, 128, 4095, 4096, 8064, 8191):
        for mask in (1, 128):
            (bad,) = bad_pages(flipped(good, position, mask), 9, checksums=True)
            assert bad.problem is PageProblem.CHECKSUM


def test_a_bad_page_says_what_was_found() -> None:
    good = sealed(noise(), 40)
    (expected,) = struct.unpack_from("<H", good, 8)
    wrong = good[:8] + struct.pack("<H", expected ^ 0x1234) + good[10:]
    assert bad_pages(sealed(noise(2), 39) + wrong, 39, checksums=True) == [
        BadPage(block=40, problem=PageProblem.CHECKSUM, expected=expected, found=expected ^ 0x1234, lsn=LSN)
    ]


def test_new_pages_are_fine() -> None:
    assert bad_pages(bytes(3 * PAGE_BYTES), 0, checksums=True) == []
    assert bad_pages(bytes(3 * PAGE_BYTES), 0, checksums=False) == []


@pytest.mark.parametrize("checksums", [True, False])
@pytest.mark.parametrize("position", [0, 8, 4096, PAGE_BYTES - 1])
def test_a_page_without_a_header_that_is_not_empty(position: int, checksums: bool) -> None:
    buffer = flipped(bytes(2 * PAGE_BYTES), PAGE_BYTES + position)
    assert [(bad.block, bad.problem) for bad in bad_pages(buffer, 0, checksums=checksums)] == [
        (1, PageProblem.NOT_EMPTY)
    ]


@pytest.mark.parametrize(
    "header",
    [
        {"flags": 0x0008},
        {"lower": 201},
        {"upper": 8177},
        {"special": 8200},
        {"special": 8170, "upper": 300},
        {"lower": 0xFFFF, "upper": 0xFFFF, "special": 0xFFFF},
    ],
)
def test_a_header_that_the_server_would_not_trust(header: dict[str, int]) -> None:
    buffer = sealed(noise(**header), 0)
    for checksums in (True, False):
        assert [bad.problem for bad in bad_pages(buffer, 0, checksums=checksums)] == [PageProblem.HEADER]


@pytest.mark.parametrize("header", [{"flags": 7}, {"lower": 200}, {"upper": 8176}, {"special": 8192, "upper": 8192}])
def test_a_header_at_its_limits_is_valid(header: dict[str, int]) -> None:
    assert bad_pages(sealed(noise(**header), 0), 0, checksums=True) == []


def test_without_checksums_the_content_is_not_judged() -> None:
    assert bad_pages(noise(), 0, checksums=False) == []
    (bad,) = bad_pages(noise(flags=0x8000), 0, checksums=False)
    assert (bad.expected, bad.found, bad.lsn) == (None, 0, LSN)


def test_bytes_behind_the_last_whole_page_are_not_looked_at() -> None:
    assert bad_pages(sealed(noise(), 0) + b"torn", 0, checksums=True) == []
    assert bad_pages(b"torn", 0, checksums=True) == []
