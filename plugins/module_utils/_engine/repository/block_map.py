# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block maps: for each page of a large relation file, its digest and where its bytes are.

The digest decides whether a page has changed since the last backup. It is over the page's bytes,
never its header's LSN or checksum: a page that was once read half written carries the finished
page's header and would count as unchanged for ever.

After many incrementals nearly every page lies somewhere else than the one before it. So a map is
arrays with a number for each page: what is done with it costs the same however scattered the pages
are, and no object for each of them. How maps are stored is in map_format.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import IntegrityError
from ..thirdparty import require
from .packs import PlacedFrame

if TYPE_CHECKING:
    import numpy
    import numpy.typing

    Numbers = numpy.typing.NDArray[numpy.uint32]
    Indices = numpy.typing.NDArray[numpy.int64]

PAGE_BYTES = 8192
DIGEST_BYTES = 16
_NOWHERE = 0xFFFFFFFF
_NUMBER = "<u4"
_HALVES = "<u8"  # two of a digest

# Consecutive pages that lie one after another in one frame: the first page, how many, the frame, and
# from which byte of its raw bytes.
Run = tuple[int, int, PlacedFrame, int]


@dataclass(frozen=True, eq=False)
class Places:
    """Where pages lie: for each the number of its frame in `frames`, and from which of its raw bytes on."""

    frames: tuple[PlacedFrame, ...]
    frame: Numbers
    start: Numbers

    def used(self) -> list[tuple[PlacedFrame, int]]:
        """The frames that hold them, and how many of a frame's raw bytes are needed at least."""
        if not len(self.frame):
            return []
        numpy = require("numpy")
        order = numpy.argsort(self.frame, kind="stable")
        numbers, begins = numpy.unique(self.frame[order], return_index=True)
        ends = numpy.maximum.reduceat(self.start[order], begins) + PAGE_BYTES
        return [(self.frames[number], end) for number, end in zip(numbers.tolist(), ends.tolist())]

    def packs(self) -> set[str]:
        """The packs that hold them."""
        return {placed.pack for placed, _length in self.used()}

    def runs(self, pages: Indices) -> tuple[Indices, Indices]:
        """Of these pages those that lie one after another, together: where each run begins, and how many they are."""
        numpy = require("numpy")
        follows = (
            (numpy.diff(pages) == 1)
            & (numpy.diff(self.frame) == 0)
            & (numpy.diff(self.start.astype("<i8")) == PAGE_BYTES)
        )
        begins = numpy.flatnonzero(numpy.concatenate(([True], ~follows))[: len(pages)])
        return begins, numpy.diff(begins, append=len(pages))

    def of(self, pages: Indices) -> Places:
        """Those of some of the pages."""
        return Places(self.frames, self.frame[pages], self.start[pages])


@dataclass(frozen=True, eq=False)
class BlockMap:
    """A file's pages in order. A last page may be shorter than the others; the file's size tells."""

    digests: bytes
    places: Places

    @property
    def pages(self) -> int:
        """How many pages the file has."""
        return len(self.digests) // DIGEST_BYTES


@dataclass(frozen=True, eq=False)
class Changes:
    """Pages of a file, ascending, that are not what, or where, an earlier map says."""

    file_pages: int  # of the whole file
    pages: Indices
    digests: bytes
    places: Places


def changed_pages(new: bytes | bytearray, known: bytes) -> Indices:
    """Pages whose digests differ from the known ones; pages without a known one differ."""
    numpy = require("numpy")
    count = len(new) // DIGEST_BYTES
    common = min(count, len(known) // DIGEST_BYTES)
    here, there = (numpy.frombuffer(digests, _HALVES, common * 2).reshape(common, 2) for digests in (new, known))
    changed: Indices = numpy.flatnonzero((here != there).any(axis=1))
    return numpy.concatenate((changed, numpy.arange(common, count))) if common < count else changed


def differing(new: bytes | bytearray, known: bytes) -> list[tuple[int, int]]:
    """The same as ranges of pages."""
    if not known:
        return [(0, len(new) // DIGEST_BYTES)]
    return [] if new == known else ranges_of(changed_pages(new, known))


def ranges_of(pages: Indices) -> list[tuple[int, int]]:
    """Ascending pages as ranges, each up to, not including, its second number."""
    if not len(pages):
        return []
    numpy = require("numpy")
    breaks = numpy.flatnonzero(numpy.diff(pages) != 1)
    firsts = pages[numpy.concatenate(([0], breaks + 1))].tolist()
    lasts = pages[numpy.concatenate((breaks, [-1]))].tolist()
    return [(first, last + 1) for first, last in zip(firsts, lasts)]


def page_digests(digests: bytes | bytearray, pages: Indices) -> bytes:
    """The digests of some of the pages."""
    numpy = require("numpy")
    rows = numpy.frombuffer(digests, _HALVES).reshape(-1, 2)
    return bytes(rows[pages].tobytes())


def put_digests(digests: bytearray, pages: Indices, new: bytes) -> None:
    """Replace the digests of some of the pages."""
    numpy = require("numpy")
    numpy.frombuffer(digests, _HALVES).reshape(-1, 2)[pages] = numpy.frombuffer(new, _HALVES).reshape(-1, 2)


def merge(previous: BlockMap | None, changed: Sequence[Run], digests: bytes) -> BlockMap:
    """The new map: the pages of `changed` lie there; every other one where it was."""
    if previous is not None and not changed and digests == previous.digests:
        return previous
    frames: dict[PlacedFrame, int] = {}
    rows = [(first, count, frames.setdefault(placed, len(frames)), start) for first, count, placed, start in changed]
    pages, places = spread(tuple(frames), rows)
    return BlockMap(
        digests, replaced(previous.places if previous else None, len(digests) // DIGEST_BYTES, pages, places)
    )


def spread(frames: tuple[PlacedFrame, ...], rows: Iterable[tuple[int, ...]]) -> tuple[Indices, Places]:
    """The pages of runs one by one, and their places. Each run: first page, pages, number of the frame, start."""
    numpy = require("numpy")
    first, count, frame, start = numpy.array(rows, "<i8").reshape(-1, 4).T
    within = numpy.arange(count.sum()) - numpy.repeat(numpy.cumsum(count) - count, count)
    starts = numpy.repeat(start, count) + within * PAGE_BYTES
    places = Places(frames, numpy.repeat(frame, count).astype(_NUMBER), starts.astype(_NUMBER))
    return numpy.repeat(first, count) + within, places


def replaced(old: Places | None, count: int, pages: Indices, new: Places) -> Places:
    """The places of so many pages: these pages' are new, the others' are the old ones."""
    numpy = require("numpy")
    frame = numpy.full(count, _NOWHERE, _NUMBER)
    start = numpy.zeros(count, _NUMBER)
    known = old.frames if old else ()
    if old is not None:
        kept = min(count, len(old.frame))
        frame[:kept], start[:kept] = old.frame[:kept], old.start[:kept]
    frame[pages] = new.frame + len(known)
    start[pages] = new.start
    if (frame == _NOWHERE).any():
        raise IntegrityError(
            "merging block maps",
            f"page {numpy.flatnonzero(frame == _NOWHERE)[0]} is neither new nor in the previous map.",
            "Make a full backup, and report this.",
            code="block_map_incomplete",
        )
    return Places((*known, *new.frames), frame, start)
