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
_HEAD = struct.Struct("<4sIIII")
_PACK_BYTES = 16
_FRAME = struct.Struct("<IIQI")
_RUN = struct.Struct("<III")


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
    ranges: list[tuple[int, int]] = []
    for page in [*changed, *range(common, count)]:
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


def render(block_map: BlockMap) -> bytes:
    """The map's bytes."""
    packs: dict[str, int] = {}
    frames: dict[tuple[str, int], int] = {}
    frame_rows, run_rows = [], []
    for run in block_map.runs:
        pack, frame = run.placed.pack, run.placed.frame
        pack_index = packs.setdefault(pack, len(packs))
        key = (pack, frame.number)
        if key not in frames:
            frames[key] = len(frames)
            frame_rows.append(_FRAME.pack(pack_index, frame.number, frame.offset, frame.length))
        run_rows.append(_RUN.pack(run.pages, frames[key], run.start))
    head = _HEAD.pack(_MAGIC, block_map.pages, len(packs), len(frames), len(run_rows))
    ids = b"".join(bytes.fromhex(pack) for pack in packs)
    return b"".join((head, ids, *frame_rows, *run_rows, block_map.digests))


def parse(data: bytes) -> BlockMap:
    """Read a map. It was authenticated before, so what does not fit is a defect, not an attack."""
    try:
        magic, pages, pack_count, frame_count, run_count = _HEAD.unpack_from(data)
        if magic != _MAGIC:
            raise ValueError("it does not start like one")
        sizes = (
            _HEAD.size,
            pack_count * _PACK_BYTES,
            frame_count * _FRAME.size,
            run_count * _RUN.size,
            pages * DIGEST_BYTES,
        )
        ends = [sum(sizes[: index + 1]) for index in range(len(sizes))]
        if ends[-1] != len(data):
            raise ValueError("it has the wrong length")
        ids = data[ends[0] : ends[1]]
        packs = [ids[start : start + _PACK_BYTES].hex() for start in range(0, len(ids), _PACK_BYTES)]
        frames = [
            PlacedFrame(packs[pack], Frame(number, offset, length))
            for pack, number, offset, length in _FRAME.iter_unpack(data[ends[1] : ends[2]])
        ]
        runs = tuple(
            Run(count, frames[frame], start) for count, frame, start in _RUN.iter_unpack(data[ends[2] : ends[3]])
        )
        if sum(run.pages for run in runs) != pages:
            raise ValueError("its runs do not cover its pages")
    except (ValueError, IndexError, struct.error) as exc:
        raise IntegrityError(
            "reading a block map",
            f"{exc}.",
            "Use another backup, and report this.",
            code="block_map_invalid",
        ) from exc
    return BlockMap(data[ends[3] :], runs)
