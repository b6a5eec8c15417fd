# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block maps: for each page of a large relation file, its digest and where its bytes are.

The digest decides whether a page has changed since the last backup. It is over the page's bytes,
never its header's LSN or checksum: a page that was once read half written carries the finished
page's header and would count as unchanged for ever.

Layout, little-endian:

    "LBM1" | pages (4) | packs (4) | frames (4) | runs (4)
    packs   id (16)                                            each
    frames  pack (4) | number (4) | offset (8) | length (4)    each
    runs    pages (4) | frame (4) | start (4)                  each, covering all pages in order
    pages   digest (16)                                        each

A map may be stored as changes to another (see map_changes), which are the same but for

    "LBC1" | pages of the whole file (4) | ...
    runs    first page (4) | pages (4) | frame (4) | start (4)  each, ascending
    pages   digest (16)                                        each page of the runs
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..errors import IntegrityError
from ..thirdparty import require
from .packs import PlacedFrame
from .sealed import Frame

PAGE_BYTES = 8192
DIGEST_BYTES = 16
_MAGIC = b"LBM1"
_CHANGES_MAGIC = b"LBC1"
_HEAD = struct.Struct("<4sIIII")
_PACK_BYTES = 16
_FRAME = struct.Struct("<IIQI")
_RUN = struct.Struct("<III")
_CHANGED_RUN = struct.Struct("<IIII")


@dataclass(frozen=True)
class Run:
    """Consecutive pages that lie one after another in one frame, from byte `start` of its raw bytes."""

    pages: int
    placed: PlacedFrame
    start: int


@dataclass(frozen=True)
class BlockMap:
    """A file's pages in order. A last page may be shorter than the others; the file's size tells."""

    digests: bytes
    runs: tuple[Run, ...]

    @property
    def pages(self) -> int:
        """How many pages the file has."""
        return len(self.digests) // DIGEST_BYTES

    def packs(self) -> set[str]:
        """The packs it needs."""
        return {run.placed.pack for run in self.runs}


def differing(new: bytes | bytearray, known: bytes) -> list[tuple[int, int]]:
    """Ranges of pages whose digests differ from the known ones; pages without a known one differ."""
    count = len(new) // DIGEST_BYTES
    if not known:
        return [(0, count)]
    if new == known:
        return []
    numpy = require("numpy")
    common = min(count, len(known) // DIGEST_BYTES)
    here, there = (numpy.frombuffer(digests, "<u8", common * 2).reshape(common, 2) for digests in (new, known))
    changed: list[int] = numpy.flatnonzero((here != there).any(axis=1)).tolist()
    return ranges_of([*changed, *range(common, count)])


def ranges_of(pages: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending pages as ranges, each up to, not including, its second number."""
    ranges: list[tuple[int, int]] = []
    for page in pages:
        if ranges and ranges[-1][1] == page:
            ranges[-1] = (ranges[-1][0], page + 1)
        else:
            ranges.append((page, page + 1))
    return ranges


def merge(previous: BlockMap | None, changed: Iterable[tuple[int, Run]], digests: bytes) -> BlockMap:
    """The new map: `changed` runs by their first page, ascending; every other page as it was."""
    pages = len(digests) // DIGEST_BYTES
    old = Cursor(previous.runs if previous else ())
    runs: list[Run] = []
    position = 0
    for first, run in changed:
        runs += old.take(position, first)
        runs.append(run)
        position = first + run.pages
    runs += old.take(position, pages)
    return BlockMap(digests, tuple(runs))


class Cursor:
    """Walks once through a map's runs, cutting pieces out. Ask for ascending pages."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs = iter(runs)
        self._run: Run | None = next(self._runs, None)
        self._first = 0

    def take(self, start: int, end: int) -> Iterator[Run]:
        """The runs for the pages from `start` up to, not including, `end`."""
        while self._run is not None and start < end:
            last = self._first + self._run.pages
            if start < last:
                skipped = start - self._first
                count = min(end, last) - start
                yield Run(count, self._run.placed, self._run.start + skipped * PAGE_BYTES)
                start += count
            if start >= last:
                self._first, self._run = last, next(self._runs, None)
        if start < end:
            raise IntegrityError(
                "merging block maps",
                f"pages {start} to {end} are neither new nor in the previous map.",
                "Make a full backup, and report this.",
                code="block_map_incomplete",
            )


@dataclass(frozen=True)
class Changes:
    """Pages of a file that are not what, or where, an earlier map says: runs by their first page, ascending."""

    pages: int  # of the whole file
    runs: tuple[tuple[int, Run], ...]
    digests: bytes  # of the runs' pages


def render(block_map: BlockMap) -> bytes:
    """The map's bytes."""
    places = _Places()
    rows = [_RUN.pack(run.pages, places.index(run.placed), run.start) for run in block_map.runs]
    return b"".join((places.render(_MAGIC, block_map.pages, len(rows)), *rows, block_map.digests))


def render_changes(changes: Changes) -> bytes:
    """The bytes of changes to a map."""
    places = _Places()
    rows = [_CHANGED_RUN.pack(first, run.pages, places.index(run.placed), run.start) for first, run in changes.runs]
    return b"".join((places.render(_CHANGES_MAGIC, changes.pages, len(rows)), *rows, changes.digests))


class _Places:
    """The packs and frames that runs name, each once."""

    def __init__(self) -> None:
        self._packs: dict[str, int] = {}
        self._frames: dict[tuple[str, int], int] = {}
        self._rows: list[bytes] = []

    def index(self, placed: PlacedFrame) -> int:
        """The number of a frame."""
        pack, frame = placed.pack, placed.frame
        found = self._frames.setdefault((pack, frame.number), len(self._rows))
        if found == len(self._rows):
            pack_index = self._packs.setdefault(pack, len(self._packs))
            self._rows.append(_FRAME.pack(pack_index, frame.number, frame.offset, frame.length))
        return found

    def render(self, magic: bytes, pages: int, runs: int) -> bytes:
        """Everything before the runs."""
        head = _HEAD.pack(magic, pages, len(self._packs), len(self._rows), runs)
        return b"".join((head, *(bytes.fromhex(pack) for pack in self._packs), *self._rows))


def parse(data: bytes) -> BlockMap:
    """Read a map. It was authenticated before, so what does not fit is a defect, not an attack."""
    try:
        pages, frames, rows, digests = _sections(data, _MAGIC, _RUN)
        runs = tuple(Run(count, frames[frame], start) for count, frame, start in rows)
        _require_covered(sum(run.pages for run in runs), pages, digests)
    except (ValueError, IndexError, struct.error) as exc:
        raise _invalid(exc) from exc
    return BlockMap(digests, runs)


def parse_changes(data: bytes) -> Changes:
    """Read changes to a map."""
    try:
        pages, frames, rows, digests = _sections(data, _CHANGES_MAGIC, _CHANGED_RUN)
        runs = tuple((first, Run(count, frames[frame], start)) for first, count, frame, start in rows)
        _require_covered(sum(run.pages for _first, run in runs), len(digests) // DIGEST_BYTES, digests)
        ends = [0, *(first + run.pages for first, run in runs)]
        if any(first < end for (first, _run), end in zip(runs, ends)) or ends[-1] > pages:
            raise ValueError("its runs are not in order")
    except (ValueError, IndexError, struct.error) as exc:
        raise _invalid(exc) from exc
    return Changes(pages, runs, digests)


def _sections(
    data: bytes, expected: bytes, row: struct.Struct
) -> tuple[int, list[PlacedFrame], Iterator[tuple[int, ...]], bytes]:
    """The pages, the frames, the rows of runs, and the digests."""
    magic, pages, pack_count, frame_count, run_count = _HEAD.unpack_from(data)
    if magic != expected:
        raise ValueError("it does not start like one")
    packs_end = _HEAD.size + pack_count * _PACK_BYTES
    frames_end = packs_end + frame_count * _FRAME.size
    runs_end = frames_end + run_count * row.size
    if runs_end > len(data):
        raise ValueError("it has the wrong length")
    packs = [data[start : start + _PACK_BYTES].hex() for start in range(_HEAD.size, packs_end, _PACK_BYTES)]
    frames = [
        PlacedFrame(packs[pack], Frame(number, offset, length))
        for pack, number, offset, length in _FRAME.iter_unpack(data[packs_end:frames_end])
    ]
    return pages, frames, row.iter_unpack(data[frames_end:runs_end]), data[runs_end:]


def _require_covered(covered: int, pages: int, digests: bytes) -> None:
    if not covered == pages == len(digests) / DIGEST_BYTES:
        raise ValueError("its runs do not cover its pages")


def _invalid(exc: Exception) -> IntegrityError:
    return IntegrityError(
        "reading a block map",
        f"{exc}.",
        "Use another backup, and report this.",
        code="block_map_invalid",
    )
