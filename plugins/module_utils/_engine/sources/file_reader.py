# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a backed-up file's bytes out of its packs, every byte authenticated and compared.

After many incrementals a file's pages are scattered over frames of many packs, but in each pack
they lie in the file's order. So a mapped file is put together in a window of some mebibytes at a
time, frame by frame: as long as all frames that a window needs can be kept, each is read and
decoded only once. Frames that follow one another are fetched together.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..errors import IntegrityError
from ..repository.block_map import PAGE_BYTES, BlockMap, page_digests
from ..repository.compression import Buffer
from ..repository.digests import Digester
from ..repository.manifest import FileEntry
from ..repository.map_changes import StoredMap
from ..repository.packs import PackReader, PlacedFrame
from ..repository.stanza import Stanza
from ..thirdparty import require
from .content import window

if TYPE_CHECKING:
    from ..repository.block_map import Indices

# Raw bytes of frames that all readers of a job together keep. More is no faster: it is more than the processor keeps.
_KEPT_BYTES = 48 << 20
# What is fetched together, at most.
_LONGEST_FETCH = 4 << 20
_MOST_TOGETHER = 16  # frames
WINDOW_BYTES = 4 << 20
_WORTH_IT = 64 << 10


class FileReader:
    """Reads files of one backup; one per worker."""

    def __init__(self, stanza: Stanza, generation: str, jobs: int) -> None:
        repository = stanza.repository

        def name_of(pack_id: str) -> str:
            return stanza.pack_name(generation, pack_id)

        self._data = PackReader(repository.store, repository.keys_of, "data", name_of)
        self._maps = PackReader(repository.store, repository.keys_of, "metadata", name_of)
        self._digester = Digester(repository.keys.digest_seed)
        self._kept = _KeptFrames(_KEPT_BYTES // jobs)
        self._windows: list[memoryview] = []  # made for the first mapped file

    @property
    def digester(self) -> Digester:
        """What content is recognised by."""
        return self._digester

    def window(self) -> memoryview:
        """Memory to put pages together in, which the next call but one returns again."""
        self._windows = self._windows or [window(WINDOW_BYTES), window(WINDOW_BYTES)]
        self._windows.reverse()
        return self._windows[0]

    def pieces(self, entry: FileEntry) -> Iterator[Buffer]:
        """The file's content in order, in pieces that are there only until the next but one is asked for."""
        if entry.block_map:
            return MappedFile(self, entry).pieces()
        return self._whole(entry)

    def block_map(self, entry: FileEntry) -> BlockMap:
        """A mapped file's map."""
        return StoredMap.load(entry, self._maps.read).now

    def _whole(self, entry: FileEntry) -> Iterator[Buffer]:
        digest = self._digester.file()
        size = 0
        order = FrameOrder((chunk.placed, chunk.start + chunk.length) for chunk in entry.chunks)
        for chunk in entry.chunks:
            raw = self.frame(chunk.placed, order)
            piece = raw if chunk.length == len(raw) else raw[chunk.start : chunk.start + chunk.length]
            digest.update(piece)
            size += len(piece)
            yield piece
        if size != entry.size or digest.hexdigest() != entry.digest:
            raise differs(entry)

    def frame(self, placed: PlacedFrame, order: FrameOrder) -> bytes:
        """A frame's raw bytes; with it are fetched those that will be needed soon."""
        raw = self._kept.get(placed)
        if raw is None:
            # Of each pack so much that it is still there when the file goes on in that pack.
            run = order.run_from(placed, min(_LONGEST_FETCH, self._kept.most * 3 // 4 // order.packs))
            fetched = self._data.read_run(placed.pack, [each.frame for each in run])
            raw = fetched[0]
            for each, content in zip(run[::-1], fetched[::-1]):  # what is needed first is forgotten last
                self._kept.put(each, content)
        return raw


class _KeptFrames:
    """Frames that were read, as many as there is room for; those that were not asked for for longest go first."""

    def __init__(self, most_bytes: int) -> None:
        self.most = most_bytes
        self._bytes = 0
        self._frames: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def get(self, placed: PlacedFrame) -> bytes | None:
        """A frame's raw bytes if they are there."""
        key = (placed.pack, placed.frame.number)
        raw = self._frames.get(key)
        if raw is not None:
            self._frames.move_to_end(key)
        return raw

    def put(self, placed: PlacedFrame, raw: bytes) -> None:
        """Keep a frame, and forget others for it."""
        key = (placed.pack, placed.frame.number)
        self._bytes += len(raw) - len(self._frames.pop(key, b""))
        self._frames[key] = raw
        while self._bytes > self.most:
            _key, forgotten = self._frames.popitem(last=False)
            self._bytes -= len(forgotten)


class FrameOrder:
    """A file's frames by pack and place, each with its raw length, to find those that follow one another."""

    def __init__(self, frames: Iterable[tuple[PlacedFrame, int]]) -> None:
        unique = {(placed.pack, placed.frame.offset): (placed, length) for placed, length in frames}
        self._keys = sorted(unique)
        self._frames = [unique[key] for key in self._keys]
        self.packs = len({pack for pack, _offset in self._keys})

    def run_from(self, placed: PlacedFrame, room: int) -> list[PlacedFrame]:
        """This frame and the needed ones that lie directly behind it, so many as there is room for."""
        index = bisect_left(self._keys, (placed.pack, placed.frame.offset))
        run = [placed]
        room -= self._frames[index][1]
        for following, length in self._frames[index + 1 : index + _MOST_TOGETHER]:
            last, room = run[-1], room - length
            if room < 0 or (following.pack, following.frame.offset) != (
                last.pack,
                last.frame.offset + last.frame.length,
            ):
                break
            run.append(following)
        return run


class MappedFile:
    """A file with a block map, read whole or page by page."""

    def __init__(self, reader: FileReader, entry: FileEntry) -> None:
        self._reader = reader
        self._entry = entry
        self.block_map = reader.block_map(entry)
        if self.block_map.pages != -(-entry.size // PAGE_BYTES):
            raise differs(entry)
        self._order = FrameOrder(self.block_map.places.used())

    def pieces(self) -> Iterator[memoryview]:
        """All of it, in the reader's windows by turns."""
        numpy = require("numpy")
        for start in range(0, self._entry.size, WINDOW_BYTES):
            data = self._reader.window()[: self._entry.size - start]
            self.read(numpy.arange(start // PAGE_BYTES, -(-(start + len(data)) // PAGE_BYTES)), data)
            yield data

    def read(self, pages: Indices, into: memoryview) -> None:
        """Fill memory with some pages, one after another; the file's last may be shorter."""
        numpy = require("numpy")
        places = self.block_map.places.of(pages)
        begins, counts = places.runs(numpy.arange(len(pages)))
        frame = places.frame[begins]
        order = numpy.argsort(frame, kind="stable")  # each frame is needed once
        columns = (frame, places.start[begins], begins * PAGE_BYTES, counts * PAGE_BYTES)
        current, raw = -1, memoryview(b"")
        for number, start, at, length in zip(*(column[order].tolist() for column in columns)):
            if number != current:
                current, raw = number, memoryview(self._reader.frame(places.frames[number], self._order))
            part = into[at : at + length]
            found = raw[start : start + len(part)]
            if len(found) < len(part):
                raise differs(self._entry)
            if length < _WORTH_IT:
                part[:] = found
            else:  # slower to begin, but other threads go on meanwhile
                numpy.copyto(numpy.frombuffer(part, "u1"), numpy.frombuffer(found, "u1"))
        if self._reader.digester.pages(into) != page_digests(self.block_map.digests, pages):
            raise differs(self._entry)


def differs(entry: FileEntry) -> IntegrityError:
    """The content is authentic but not this file's: a defect, not damage."""
    return IntegrityError(
        f"reading {entry.path} from the backup",
        "its content does not match the digest that was recorded.",
        "Use another backup, and verify the repository.",
        code="file_digest_mismatch",
        file=entry.path,
    )
