# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a backed-up file's bytes out of its packs, every byte authenticated and compared.

After many incrementals a file's pages are scattered over frames of many packs, but in each pack
they lie in the file's order. Keeping as many frames as there are packs is enough to read and
decode every frame only once; frames that follow one another are fetched together.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..errors import IntegrityError
from ..repository.block_map import DIGEST_BYTES, PAGE_BYTES, BlockMap, Cursor
from ..repository.digests import Digester
from ..repository.manifest import FileEntry
from ..repository.map_changes import StoredMap
from ..repository.packs import PackReader, PlacedFrame
from ..repository.sealed import FRAME_RAW_BYTES
from ..repository.stanza import Stanza

# Raw frames that all readers of a job together keep, about a mebibyte each.
_KEPT_FRAMES = 96
_LONGEST_FETCH = 4  # frames


@dataclass(frozen=True)
class Part:
    """Bytes of one frame that come next in the file."""

    placed: PlacedFrame
    start: int
    length: int


class FileReader:
    """Reads files of one backup; one per worker."""

    def __init__(self, stanza: Stanza, generation: str, jobs: int) -> None:
        repository = stanza.repository

        def name_of(pack_id: str) -> str:
            return stanza.pack_name(generation, pack_id)

        self._data = PackReader(repository.store, repository.keys_of, "data", name_of)
        self._maps = PackReader(repository.store, repository.keys_of, "metadata", name_of)
        self._digester = Digester(repository.keys.digest_seed)
        self._capacity = max(_LONGEST_FETCH, _KEPT_FRAMES // jobs)
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    @property
    def digester(self) -> Digester:
        """What content is recognised by."""
        return self._digester

    def pieces(self, entry: FileEntry) -> Iterator[bytes]:
        """The file's content in order, in pieces of up to about a mebibyte."""
        if entry.block_map:
            return MappedFile(self, entry).pieces()
        return self._whole(entry)

    def block_map(self, entry: FileEntry) -> BlockMap:
        """A mapped file's map."""
        return StoredMap.load(entry, self._maps.read).now

    def _whole(self, entry: FileEntry) -> Iterator[bytes]:
        digest = self._digester.file()
        size = 0
        parts = [Part(chunk.placed, chunk.start, chunk.length) for chunk in entry.chunks]
        for piece in self.joined(parts, FrameOrder(part.placed for part in parts)):
            digest.update(piece)
            size += len(piece)
            yield piece
        if size != entry.size or digest.hexdigest() != entry.digest:
            raise differs(entry)

    def joined(self, parts: Iterable[Part], order: FrameOrder) -> Iterator[bytes]:
        """The parts' bytes, small ones put together."""
        fetched_together = max(1, min(_LONGEST_FETCH, self._capacity // max(1, order.packs)))
        waiting: list[bytes] = []
        size = 0
        for part in parts:
            raw = self._frame(part.placed, order, fetched_together)
            piece = raw if part.length == len(raw) else raw[part.start : part.start + part.length]
            waiting.append(piece)
            size += len(piece)
            if size >= FRAME_RAW_BYTES:
                yield waiting[0] if len(waiting) == 1 else b"".join(waiting)
                waiting, size = [], 0
        if waiting:
            yield waiting[0] if len(waiting) == 1 else b"".join(waiting)

    def _frame(self, placed: PlacedFrame, order: FrameOrder, count: int) -> bytes:
        key = (placed.pack, placed.frame.number)
        raw = self._kept.get(key)
        if raw is not None:
            self._kept.move_to_end(key)
            return raw
        run = order.run_from(placed, count)
        for fetched, content in zip(run, self._data.read_run(placed.pack, [each.frame for each in run])):
            self._kept[fetched.pack, fetched.frame.number] = content
        raw = self._kept[key]
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
        return raw


class FrameOrder:
    """A file's frames by pack and place, to find those that follow one another."""

    def __init__(self, frames: Iterable[PlacedFrame]) -> None:
        unique = {(placed.pack, placed.frame.offset): placed for placed in frames}
        self._keys = sorted(unique)
        self._frames = [unique[key] for key in self._keys]
        self.packs = len({pack for pack, _offset in self._keys})

    def run_from(self, placed: PlacedFrame, count: int) -> list[PlacedFrame]:
        """This frame and the needed ones that lie directly behind it, at most `count`."""
        index = bisect_left(self._keys, (placed.pack, placed.frame.offset))
        run = [placed]
        for following in self._frames[index + 1 : index + count]:
            last = run[-1]
            if following.pack != last.pack or following.frame.offset != last.frame.offset + last.frame.length:
                break
            run.append(following)
        return run


class MappedFile:
    """A file with a block map, read whole or by ranges of pages in ascending order."""

    def __init__(self, reader: FileReader, entry: FileEntry) -> None:
        self._reader = reader
        self._entry = entry
        self.block_map = reader.block_map(entry)
        if self.block_map.pages != -(-entry.size // PAGE_BYTES):
            raise differs(entry)
        self._cursor = Cursor(self.block_map.runs)
        self._order = FrameOrder(run.placed for run in self.block_map.runs)

    def pieces(self) -> Iterator[bytes]:
        """All of it."""
        return self.pages(0, self.block_map.pages)

    def pages(self, first: int, end: int) -> Iterator[bytes]:
        """The pages from `first` up to, not including, `end`, compared with their digests."""
        position = first * PAGE_BYTES
        for piece in self._reader.joined(self._parts(first, end), self._order):
            at = position // PAGE_BYTES * DIGEST_BYTES
            digests = self._reader.digester.pages(piece)
            if self.block_map.digests[at : at + len(digests)] != digests:
                raise differs(self._entry)
            position += len(piece)
            yield piece

    def _parts(self, first: int, end: int) -> Iterator[Part]:
        """The runs as bytes; the file's size says how long the last page is."""
        position = first * PAGE_BYTES
        for run in self._cursor.take(first, end):
            length = min(run.pages * PAGE_BYTES, self._entry.size - position)
            yield Part(run.placed, run.start, length)
            position += length


def differs(entry: FileEntry) -> IntegrityError:
    """The content is authentic but not this file's: a defect, not damage."""
    return IntegrityError(
        f"reading {entry.path} from the backup",
        "its content does not match the digest that was recorded.",
        "Use another backup, and verify the repository.",
        code="file_digest_mismatch",
        file=entry.path,
    )
