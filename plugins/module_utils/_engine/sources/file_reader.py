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
from ..repository.block_map import DIGEST_BYTES, PAGE_BYTES, BlockMap, parse
from ..repository.digests import Digester
from ..repository.manifest import FileEntry
from ..repository.packs import PackReader, PlacedFrame
from ..repository.sealed import FRAME_RAW_BYTES
from ..repository.stanza import Stanza

# Raw frames that all readers of a job together keep, about a mebibyte each.
_KEPT_FRAMES = 96
_LONGEST_FETCH = 4  # frames


@dataclass(frozen=True)
class _Part:
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

    def pieces(self, entry: FileEntry) -> Iterator[bytes]:
        """The file's content in order, in pieces of up to about a mebibyte."""
        return self._mapped(entry) if entry.block_map else self._whole(entry)

    def _whole(self, entry: FileEntry) -> Iterator[bytes]:
        digest = self._digester.file()
        size = 0
        parts = [_Part(chunk.placed, chunk.start, chunk.length) for chunk in entry.chunks]
        for piece in self._joined(parts):
            digest.update(piece)
            size += len(piece)
            yield piece
        if size != entry.size or digest.hexdigest() != entry.digest:
            raise _differs(entry)

    def _mapped(self, entry: FileEntry) -> Iterator[bytes]:
        block_map = parse(b"".join(self._maps.read(placed) for placed in entry.block_map))
        position = 0
        for piece in self._joined(_parts(block_map, entry.size)):
            first = position // PAGE_BYTES
            digests = self._digester.pages(piece)
            if block_map.digests[first * DIGEST_BYTES : first * DIGEST_BYTES + len(digests)] != digests:
                raise _differs(entry)
            position += len(piece)
            yield piece
        if position != entry.size or block_map.pages != -(-entry.size // PAGE_BYTES):
            raise _differs(entry)

    def _joined(self, parts: list[_Part]) -> Iterator[bytes]:
        """The parts' bytes, small ones put together. A piece ends where a page ends."""
        order = _FrameOrder(part.placed for part in parts)
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

    def _frame(self, placed: PlacedFrame, order: _FrameOrder, count: int) -> bytes:
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


class _FrameOrder:
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


def _parts(block_map: BlockMap, size: int) -> list[_Part]:
    """A map's runs as bytes; the file's size says how long the last page is."""
    parts = []
    position = 0
    for run in block_map.runs:
        length = min(run.pages * PAGE_BYTES, size - position)
        parts.append(_Part(run.placed, run.start, length))
        position += length
    return parts


def _differs(entry: FileEntry) -> IntegrityError:
    return IntegrityError(
        f"reading {entry.path} from the backup",
        "its content does not match the digest that was recorded.",
        "Use another backup, and verify the repository.",
        code="file_digest_mismatch",
        file=entry.path,
    )
