# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which pages WAL has touched, as servers since version 17 note it with `summarize_wal`.

A summary is a file for a stretch of WAL, with the blocks of each relation that records in it have
changed. All summaries from the start of one backup to the start of the next, without a gap, tell
which pages need to be looked at: a page that no record has touched is what it was.

They speak for main forks only: clearing a bit of a visibility map is not noted, and free space maps
are not in WAL at all. The rules for what counts as changed are those of PostgreSQL's own
incremental backup. Layout of a file, in the machine's byte order:

    magic (4)
    tablespace (4) | database (4) | relation (4) | fork (4) | limit block (4) | chunks (4)   each
        elements of each chunk (2), then the elements (2) of each chunk
    24 zero bytes
    CRC-32C of all that (4)

A chunk is for 65536 blocks: the numbers in it that changed, or if it has 4096 elements a bit for
each block. From the limit block on everything has changed: the relation was cut there, or made.
"""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import checksums
from ..errors import IntegrityError
from ..thirdparty import require
from .data_directory import Fork, RelationSegment
from .pages import PAGES_PER_SEGMENT
from .wal_names import Lsn

if TYPE_CHECKING:
    import numpy
    import numpy.typing

    Flags = numpy.typing.NDArray[numpy.bool_]
    Blocks = numpy.typing.NDArray[numpy.int64]
    Places = numpy.typing.NDArray[numpy.uint64]

_FOLDER = "pg_wal/summaries"
_NAME = re.compile(r"([0-9A-F]{8})([0-9A-F]{16})([0-9A-F]{16})\.summary", re.ASCII)
_MAGIC = struct.pack("=I", 0x652B137B)
_ENTRY = struct.Struct("=IIIiII")
_END = bytes(_ENTRY.size)
_CRC = struct.Struct("=I")
_MAIN_FORK = 0
_NO_LIMIT = 0xFFFFFFFF
_CHUNK_BLOCKS = 1 << 16
_BITMAP_ELEMENTS = _CHUNK_BLOCKS // 16
_SEGMENT_CHUNKS = PAGES_PER_SEGMENT // _CHUNK_BLOCKS
# Where so much has changed reading everything costs little more, and this stays in memory.
_MOST_BYTES = 48 << 20


@dataclass(frozen=True)
class Summary:
    """One file, and the stretch of WAL it is for."""

    path: Path
    timeline: int
    start: Lsn
    end: Lsn


def there(data_directory: Path, timeline: int) -> list[Summary]:
    """The summaries of a timeline, in WAL's order."""
    found = []
    try:
        paths = list((data_directory / _FOLDER).iterdir())
    except FileNotFoundError:
        return []
    for path in paths:
        name = _NAME.fullmatch(path.name)
        if name is not None and int(name[1], 16) == timeline:
            found.append(Summary(path, timeline, int(name[2], 16), int(name[3], 16)))
    return sorted(found, key=lambda each: (each.start, each.end))


def chain(summaries: Sequence[Summary], start: Lsn, end: Lsn) -> tuple[list[Summary], Lsn]:
    """Those that together cover WAL from `start`, and how far without a gap they do; not needlessly beyond `end`."""
    links, reached = [], start
    for summary in summaries:
        if summary.start > reached or reached >= end:
            break
        if summary.end > reached:
            links.append(summary)
            reached = summary.end
    return links, reached


class ChangedBlocks:
    """The union of summaries: their bytes as they are, and where in them each relation's main fork is.

    Objects for each of them would take many times as much memory.
    """

    def __init__(self, data: bytearray, places: array[int], made_anew: set[tuple[int, int]]) -> None:
        """`places` are relation and place together, see `_place`; `made_anew` are (tablespace, database)."""
        numpy = require("numpy")
        self._data = data
        self._places: Places = numpy.frombuffer(places, "u8") if places else numpy.zeros(0, "u8")
        self._places.sort()
        self._made_anew = made_anew

    def pages(self, segment: RelationSegment, count: int) -> Flags | None:
        """For each of the first `count` pages of a relation's file whether it may have changed; None: not known."""
        numpy = require("numpy")
        if segment.fork is not Fork.MAIN or (segment.tablespace, segment.database) in self._made_anew:
            return None
        flags: Flags = numpy.zeros(count, bool)
        first_chunk = segment.first_block // _CHUNK_BLOCKS
        for at in self._entries(segment.filenode):
            tablespace, database, _filenode, _fork, limit, chunks = _ENTRY.unpack_from(self._data, at)
            if (tablespace, database) != (segment.tablespace, segment.database):
                continue
            flags[max(0, limit - segment.first_block) :] = True
            usage = numpy.frombuffer(self._data, "u2", chunks, at + _ENTRY.size)
            start = at + _ENTRY.size + 2 * (chunks + int(usage[:first_chunk].sum(dtype="i8")))
            for number, used in enumerate(usage[first_chunk : first_chunk + _SEGMENT_CHUNKS].tolist()):
                blocks = _blocks(numpy.frombuffer(self._data, "u2", used, start)) + number * _CHUNK_BLOCKS
                flags[blocks[blocks < count]] = True
                start += 2 * used
        return flags

    def _entries(self, filenode: int) -> list[int]:
        """Where entries of relations with this number are, whatever their database."""
        numpy = require("numpy")
        ends = numpy.array([_place(filenode, 0), _place(filenode + 1, 0) - 1], "u8")
        first, last = self._places.searchsorted(ends[0]), self._places.searchsorted(ends[1], "right")
        places: list[int] = (self._places[first:last] & 0xFFFFFFFF).tolist()
        return places


def _place(filenode: int, at: int) -> int:
    """A relation and a place in one number, so that sorting brings together what is of one relation."""
    return filenode << 32 | at


def _blocks(elements: Blocks) -> Blocks:
    """The blocks of a chunk that changed."""
    numpy = require("numpy")
    if len(elements) < _BITMAP_ELEMENTS:
        return elements.astype("i8")
    bits = (elements[:, None] >> numpy.arange(16, dtype="u2")) & 1
    positions: Blocks = numpy.flatnonzero(bits.ravel())
    return positions


class _Collected:
    """Summaries as they are put together."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.places = array("Q")
        self.made_anew: set[tuple[int, int]] = set()

    def add(self, summary: Summary) -> bool:
        """Take one file in. False if nothing here can check it."""
        read = summary.path.read_bytes()
        end = len(read) - _CRC.size
        if end < len(_MAGIC) or read[: len(_MAGIC)] != _MAGIC:
            raise _damaged(summary)
        crc = checksums.crc32c(read[:end])
        if crc is None:
            return False
        if _CRC.pack(crc) != read[end:]:
            raise _damaged(summary)
        try:
            self._add_entries(read[:end])
        except (ValueError, struct.error) as exc:
            raise _damaged(summary) from exc
        return True

    def _add_entries(self, read: bytes) -> None:
        before, at = len(self.data), len(_MAGIC)
        numbers = memoryview(read)
        while read[at : at + _ENTRY.size] != _END:
            tablespace, database, filenode, fork, limit, chunks = _ENTRY.unpack_from(read, at)
            if fork == _MAIN_FORK:
                self.places.append(_place(filenode, before + at))
                if filenode == 0 and limit != _NO_LIMIT:  # a database that was copied file by file, or removed
                    self.made_anew.add((tablespace, database))
            at += _ENTRY.size
            usage = numbers[at : at + 2 * chunks]
            if len(usage) < 2 * chunks:
                raise ValueError("it ends in the middle of an entry")
            at += 2 * (chunks + sum(usage.cast("H")))
        self.data += read


def union(links: Sequence[Summary]) -> ChangedBlocks | None:
    """What these summaries say together; None if that is more than is of use, or cannot be checked."""
    collected = _Collected()
    try:
        if sum(each.path.stat().st_size for each in links) > _MOST_BYTES:
            return None
        for each in links:
            if not collected.add(each):
                return None
    except FileNotFoundError:  # the server has removed it: it was old
        return None
    return ChangedBlocks(collected.data, collected.places, collected.made_anew)


def _damaged(summary: Summary) -> IntegrityError:
    return IntegrityError(
        f"reading the WAL summary {summary.path}",
        "it is damaged, or of a kind that is not known.",
        "Check the disk that holds the data directory.",
        code="wal_summary_damaged",
    )
