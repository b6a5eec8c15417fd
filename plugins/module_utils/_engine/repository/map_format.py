# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How block maps are stored.

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
from typing import TYPE_CHECKING, Any

from ..errors import IntegrityError
from ..thirdparty import require
from .block_map import DIGEST_BYTES, PAGE_BYTES, BlockMap, Changes, Places, spread
from .packs import PlacedFrame
from .sealed import Frame

if TYPE_CHECKING:
    from .block_map import Indices

_MAGIC = b"LBM1"
_CHANGES_MAGIC = b"LBC1"
_HEAD = struct.Struct("<4sIIII")
_PACK_BYTES = 16
_FRAME = struct.Struct("<IIQI")
_NUMBER = "<u4"
_NUMBER_BYTES = 4
_MOST = 2**32


def render(block_map: BlockMap) -> bytes:
    """The map's bytes."""
    pages = require("numpy").arange(block_map.pages)
    return _rendered(_MAGIC, block_map.pages, _runs(pages, block_map.places)[1:], block_map)


def render_changes(changes: Changes) -> bytes:
    """The bytes of changes to a map."""
    return _rendered(_CHANGES_MAGIC, changes.file_pages, _runs(changes.pages, changes.places), changes)


def _runs(pages: Indices, places: Places) -> tuple[Any, Any, Any, Any]:
    """Pages that lie one after another, together: first pages, how many, frames, starts."""
    begins, counts = places.runs(pages)
    return pages[begins], counts, places.frame[begins], places.start[begins]


def _rendered(magic: bytes, pages: int, columns: tuple[Any, ...], what: BlockMap | Changes) -> bytes:
    numpy = require("numpy")
    *before, frame, start = columns
    used, index = numpy.unique(frame, return_inverse=True)
    packs: dict[str, int] = {}
    frames = []
    for placed in (what.places.frames[number] for number in used.tolist()):
        pack = packs.setdefault(placed.pack, len(packs))
        frames.append(_FRAME.pack(pack, placed.frame.number, placed.frame.offset, placed.frame.length))
    runs = numpy.stack([*before, index, start], axis=1).astype(_NUMBER)
    head = _HEAD.pack(magic, pages, len(packs), len(frames), len(runs))
    return b"".join((head, *map(bytes.fromhex, packs), *frames, runs.tobytes(), what.digests))


def parse(data: bytes) -> BlockMap:
    """Read a map. It was authenticated before, so what does not fit is a defect, not an attack."""
    numpy = require("numpy")
    try:
        pages, frames, rows, digests = _sections(data, _MAGIC, 3)
        counts = rows[:, 0]
        _require_covered(counts, pages, digests)
        firsts = numpy.cumsum(counts) - counts
        _pages, places = spread(frames, numpy.column_stack((firsts, rows)))
    except (ValueError, IndexError, struct.error) as exc:
        raise _invalid(exc) from exc
    return BlockMap(digests, places)


def parse_changes(data: bytes) -> Changes:
    """Read changes to a map."""
    try:
        file_pages, frames, rows, digests = _sections(data, _CHANGES_MAGIC, 4)
        firsts, counts = rows[:, 0], rows[:, 1]
        _require_covered(counts, len(digests) // DIGEST_BYTES, digests)
        ends = firsts + counts
        if (firsts[1:] < ends[:-1]).any() or (ends > file_pages).any():
            raise ValueError("its runs are not in order")
        pages, places = spread(frames, rows)
    except (ValueError, IndexError, struct.error) as exc:
        raise _invalid(exc) from exc
    return Changes(file_pages, pages, digests, places)


def _sections(data: bytes, expected: bytes, columns: int) -> tuple[int, tuple[PlacedFrame, ...], Any, bytes]:
    """The pages, the frames, the rows of runs, and the digests. A row ends with the frame and where in it."""
    numpy = require("numpy")
    magic, pages, pack_count, frame_count, run_count = _HEAD.unpack_from(data)
    if magic != expected:
        raise ValueError("it does not start like one")
    packs_end = _HEAD.size + pack_count * _PACK_BYTES
    frames_end = packs_end + frame_count * _FRAME.size
    runs_end = frames_end + run_count * columns * _NUMBER_BYTES
    if runs_end > len(data):
        raise ValueError("it has the wrong length")
    packs = [data[start : start + _PACK_BYTES].hex() for start in range(_HEAD.size, packs_end, _PACK_BYTES)]
    frames = tuple(
        PlacedFrame(packs[pack], Frame(number, offset, length))
        for pack, number, offset, length in _FRAME.iter_unpack(data[packs_end:frames_end])
    )
    rows = numpy.frombuffer(data, _NUMBER, run_count * columns, frames_end).reshape(-1, columns).astype("<i8")
    counts, numbers, starts = rows[:, -3], rows[:, -2], rows[:, -1]
    if (numbers >= len(frames)).any():
        raise ValueError("a run is in a frame that it does not name")
    if (starts + counts * PAGE_BYTES >= _MOST).any():
        raise ValueError("a run is longer than any frame")
    return pages, frames, rows, data[runs_end:]


def _require_covered(counts: Any, pages: int, digests: bytes) -> None:
    if not int(counts.sum()) == pages == len(digests) / DIGEST_BYTES:
        raise ValueError("its runs do not cover its pages")


def _invalid(exc: Exception) -> IntegrityError:
    return IntegrityError(
        "reading a block map",
        f"{exc}.",
        "Use another backup, and report this.",
        code="block_map_invalid",
    )
