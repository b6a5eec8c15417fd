# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pages of relations: finding those that the server itself would refuse to read.

PostgreSQL's page checksum is an FNV-1a hash of 32-bit words, run as 32 independent sums, one per
column of the page seen as a table of 64 rows; a round folds one row into the sums. Here a round
does it for hundreds of pages at once, so that numpy's machine code does nearly all the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Union

from ..thirdparty import require
from .wal_names import Lsn

if TYPE_CHECKING:
    import numpy
    import numpy.typing

    Words = numpy.typing.NDArray[numpy.uint32]
    Halfwords = numpy.typing.NDArray[numpy.uint16]
    Flags = numpy.typing.NDArray[numpy.bool_]

Buffer = Union[bytes, bytearray, memoryview]

PAGE_BYTES = 8192
PAGES_PER_SEGMENT = 131072  # a relation's files end at 1 GiB

_COLUMNS = 32
_ROWS = PAGE_BYTES // 4 // _COLUMNS
_FNV_PRIME = 16777619
_SHIFT = 17
# fmt: off
_INITIAL_SUMS = (
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756,
)
# fmt: on

# Where the page header has its fields, in 16-bit words. The LSN is two 32-bit words, high first.
_CHECKSUM, _FLAGS, _LOWER, _UPPER, _SPECIAL = 4, 5, 6, 7, 8
_CHECKSUM_COLUMN = 2  # of the first row; the checksum is its low half
_VALID_FLAGS = 0x0007
_ALIGNMENT = 8

# Pages per round: enough that numpy's cost per call vanishes, few enough for the sums to stay in cache.
_BATCH = 512
# Fewer pages than this in a row are collected with others into one round: copying them costs less.
_WORTH_A_ROUND = 64


class PageProblem(Enum):
    """Why the server would refuse a page."""

    CHECKSUM = "its checksum does not match its content"
    HEADER = "its header is not valid"
    NOT_EMPTY = "its header is empty but the page is not"


@dataclass(frozen=True)
class BadPage:
    """A page the server would refuse. `block` counts from the relation's start, not the file's.

    `found` is the checksum in the page, `expected` the one that its content gives, None where
    checksums were not asked for.
    """

    block: int
    problem: PageProblem
    expected: int | None
    found: int
    lsn: Lsn


def bad_pages(
    buffer: Buffer, first_block: int, *, checksums: bool, ranges: Sequence[tuple[int, int]] | None = None
) -> list[BadPage]:
    """Judge the pages in `buffer` as the server would on reading them; the first one's number is `first_block`.

    Pages of nothing but zeros are fine: a relation grows by them. Bytes behind the last whole page
    are not looked at. Without data checksums in the cluster only the headers are judged. `ranges` are
    those of pages to look at, counted from the buffer's first up to, not including, an end; all of
    them unless given.

    What is found here is not yet a finding: the page may have been read while it was written. It
    is one when another read says the same and the page's LSN is older than the backup's start,
    because WAL replay writes all others anew.
    """
    numpy = require("numpy")
    count = len(memoryview(buffer)) // PAGE_BYTES
    words: Words = numpy.frombuffer(buffer, "<u4", count * PAGE_BYTES // 4).reshape(count, _ROWS, _COLUMNS)
    wanted = [(start, min(end, count)) for start, end in ranges] if ranges is not None else [(0, count)]
    found: list[BadPage] = []
    scattered: list[int] = []
    for start, end in wanted:
        if end - start < _WORTH_A_ROUND:
            scattered += range(start, end)
            continue
        for at in range(start, end, _BATCH):
            last = min(at + _BATCH, end)
            blocks: Words = numpy.arange(first_block + at, first_block + last, dtype="<u4")
            found += _bad_in_batch(words[at:last], blocks, checksums)
    for at in range(0, len(scattered), _BATCH):
        index = numpy.array(scattered[at : at + _BATCH], "<u4")
        found += _bad_in_batch(words[index], index + numpy.uint32(first_block), checksums)
    return sorted(found, key=lambda bad: bad.block)


def _bad_in_batch(words: Words, blocks: Words, checksums: bool) -> list[BadPage]:
    numpy = require("numpy")
    halfwords: Halfwords = words.view("<u2").reshape(len(words), PAGE_BYTES // 2)
    stored = halfwords[:, _CHECKSUM]
    expected = _checksums(words, stored, blocks) if checksums else stored
    empty = halfwords[:, _UPPER] == 0
    wrong_checksum = (expected != stored) & ~empty
    wrong_header = ~(_has_valid_header(halfwords) | empty)
    suspects = numpy.flatnonzero(wrong_checksum | wrong_header | empty)

    found = []
    for index in suspects.tolist():
        if wrong_checksum[index]:
            problem = PageProblem.CHECKSUM
        elif wrong_header[index]:
            problem = PageProblem.HEADER
        elif words[index].any():
            problem = PageProblem.NOT_EMPTY
        else:
            continue
        high, low = words[index, 0, :2].tolist()
        found.append(
            BadPage(
                block=int(blocks[index]),
                problem=problem,
                expected=int(expected[index]) if checksums else None,
                found=int(stored[index]),
                lsn=high << 32 | low,
            )
        )
    return found


def _has_valid_header(halfwords: Halfwords) -> Flags:
    """What the server demands of a header before it trusts the page."""
    lower, upper, special = halfwords[:, _LOWER], halfwords[:, _UPPER], halfwords[:, _SPECIAL]
    valid: Flags = (lower <= upper) & (upper <= special) & (special <= PAGE_BYTES)
    valid &= (special % _ALIGNMENT == 0) & (halfwords[:, _FLAGS] <= _VALID_FLAGS)
    return valid


def _checksums(words: Words, stored: Halfwords, blocks: Words) -> Words:
    """The checksum each page should have. All rounds work in place on two small arrays."""
    numpy = require("numpy")
    sums: Words = numpy.empty((len(words), _COLUMNS), "<u4")
    shifted: Words = numpy.empty(sums.size, "<u4")
    flat = sums.reshape(-1)  # the same memory: one long loop instead of one per page
    prime, shift = numpy.uint32(_FNV_PRIME), numpy.uint32(_SHIFT)

    def mix() -> None:
        numpy.right_shift(flat, shift, out=shifted)
        numpy.multiply(flat, prime, out=flat)
        numpy.bitwise_xor(flat, shifted, out=flat)

    sums[:] = numpy.array(_INITIAL_SUMS, "<u4")
    sums[:, _CHECKSUM_COLUMN] ^= stored  # the checksum counts as zero: once more with the row takes it out
    for row in words.swapaxes(0, 1):
        numpy.bitwise_xor(sums, row, out=sums)
        mix()
    mix()
    mix()
    folded: Words = numpy.bitwise_xor.reduce(sums, axis=1)
    folded ^= blocks
    return folded % 65535 + 1
