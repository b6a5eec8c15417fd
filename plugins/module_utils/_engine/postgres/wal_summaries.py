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
from collections.abc import Sequence
from dataclasses import dataclass, field
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


@dataclass
class _Relation:
    limit: int = _NO_LIMIT
    chunks: list[tuple[int, bytes]] = field(default_factory=list)  # the chunk's first block, its elements


class ChangedBlocks:
    """The union of summaries. Filled by one thread, then only asked."""

    def __init__(self) -> None:
        self._relations: dict[tuple[int, int, int], _Relation] = {}

    def pages(self, segment: RelationSegment, count: int) -> Flags | None:
        """For each of the first `count` pages of a relation's file whether it may have changed; None: not known."""
        numpy = require("numpy")
        if segment.fork is not Fork.MAIN or self._was_made_anew(segment):
            return None
        flags: Flags = numpy.zeros(count, bool)
        relation = self._relations.get((segment.tablespace, segment.database, segment.filenode))
        if relation is None:
            return flags
        flags[max(0, relation.limit - segment.first_block) :] = True
        for first, elements in relation.chunks:
            if segment.first_block <= first < segment.first_block + PAGES_PER_SEGMENT:
                blocks = _blocks(elements) + (first - segment.first_block)
                flags[blocks[blocks < count]] = True
        return flags

    def _was_made_anew(self, segment: RelationSegment) -> bool:
        """A database that was copied file by file has its limit as relation 0."""
        database = self._relations.get((segment.tablespace, segment.database, 0))
        return database is not None and database.limit != _NO_LIMIT

    def add(self, summary: Summary) -> bool:
        """Take one file in. False if nothing here can check it."""
        data = summary.path.read_bytes()
        end = len(data) - _CRC.size
        if end < len(_MAGIC) or data[: len(_MAGIC)] != _MAGIC:
            raise _damaged(summary)
        crc = checksums.crc32c(data[:end])
        if crc is None:
            return False
        if _CRC.pack(crc) != data[end:]:
            raise _damaged(summary)
        try:
            self._add_entries(data[:end])
        except (ValueError, struct.error) as exc:
            raise _damaged(summary) from exc
        return True

    def _add_entries(self, data: bytes) -> None:
        at = len(_MAGIC)
        while data[at : at + _ENTRY.size] != _END:
            tablespace, database, filenode, fork, limit, chunks = _ENTRY.unpack_from(data, at)
            at += _ENTRY.size
            usage = struct.unpack_from(f"={chunks}H", data, at)
            at += 2 * chunks
            relation = self._relations.setdefault((tablespace, database, filenode), _Relation())
            if fork == _MAIN_FORK:
                relation.limit = min(relation.limit, limit)
            for number, count in enumerate(usage):
                if count and fork == _MAIN_FORK:
                    relation.chunks.append((number * _CHUNK_BLOCKS, data[at : at + 2 * count]))
                at += 2 * count
            if at > len(data):
                raise ValueError("it ends in the middle of an entry")


def _blocks(chunk: bytes) -> Blocks:
    """The blocks of a chunk that changed."""
    numpy = require("numpy")
    elements = numpy.frombuffer(chunk, "u2")
    if len(elements) < _BITMAP_ELEMENTS:
        numbers: Blocks = elements.astype("i8")
        return numbers
    bits = (elements[:, None] >> numpy.arange(16, dtype="u2")) & 1
    positions: Blocks = numpy.flatnonzero(bits.ravel())
    return positions


def union(links: Sequence[Summary]) -> ChangedBlocks | None:
    """What these summaries say together; None if that is more than is of use, or cannot be checked."""
    changed = ChangedBlocks()
    try:
        if sum(each.path.stat().st_size for each in links) > _MOST_BYTES:
            return None
        for each in links:
            if not changed.add(each):
                return None
    except FileNotFoundError:  # the server has removed it: it was old
        return None
    return changed


def _damaged(summary: Summary) -> IntegrityError:
    return IntegrityError(
        f"reading the WAL summary {summary.path}",
        "it is damaged, or of a kind that is not known.",
        "Check the disk that holds the data directory.",
        code="wal_summary_damaged",
    )
