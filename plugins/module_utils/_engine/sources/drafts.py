# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files whose bytes have been read but do not all have their place yet: some wait in a bundle to be sealed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..repository.block_map import PAGE_BYTES, BlockMap, Run, merge
from ..repository.compression import Buffer
from ..repository.manifest import Chunk, FileEntry
from ..repository.packs import PlacedFrame
from ..repository.sealed import FRAME_RAW_BYTES
from .frame_builder import FrameBuilder, Placed

# What was changed since the last backup is read again together with what was changed before and after: frames of
# many packs are held at once, and smaller ones of each are enough.
SCATTERED_BYTES = FRAME_RAW_BYTES // 4


class WholeFile:
    """A file's chunks, some of which wait in a bundle for their place."""

    def __init__(self, finished: Callable[[FileEntry], None]) -> None:
        self._finished = finished
        self._chunks: list[Chunk | None] = []
        self._entry: FileEntry | None = None

    def expect(self, length: int) -> Placed:
        """A place for the next piece."""
        index = len(self._chunks)
        self._chunks.append(None)

        def placed(frame: PlacedFrame, start: int) -> None:
            self._chunks[index] = Chunk(frame, start, length)
            self._complete()

        return placed

    def close(self, entry: FileEntry) -> None:
        """No more pieces come."""
        self._entry = entry
        self._complete()

    def _complete(self) -> None:
        chunks = [chunk for chunk in self._chunks if chunk is not None]
        if self._entry is not None and len(chunks) == len(self._chunks):
            self._finished(replace(self._entry, chunks=tuple(chunks)))


class MapDraft:
    """A block map in the making: changed pages are collected into frames, then placed."""

    def __init__(
        self,
        frames: FrameBuilder,
        finished: Callable[[FileEntry, BlockMap], None],
        previous: BlockMap | None,
    ) -> None:
        self._frames = frames
        self._finished = finished
        self._previous = previous
        self._frame_bytes = SCATTERED_BYTES if previous else FRAME_RAW_BYTES
        self._buffer = bytearray()
        self._buffered: list[tuple[int, int]] = []  # first page, start in the buffer
        self._runs: list[Run] = []
        self._open_frames = 0
        self._entry: FileEntry | None = None
        self._digests = b""

    def add(self, first_page: int, data: memoryview) -> None:
        """Changed pages in ascending order."""
        start = 0
        while start < len(data):
            room = self._frame_bytes - len(self._buffer)
            part = data[start : start + room]
            if self._buffer or len(part) < self._frame_bytes:
                self._buffered.append((first_page + start // PAGE_BYTES, len(self._buffer)))
                self._buffer += part
                if len(self._buffer) == self._frame_bytes:
                    self._seal()
            else:
                self._store(part, [(first_page + start // PAGE_BYTES, 0)])
            start += len(part)

    def _seal(self) -> None:
        if self._buffered:
            piece, buffered = self._buffer, self._buffered
            self._buffer, self._buffered = bytearray(), []
            self._store(piece, buffered)

    def _store(self, piece: Buffer, parts: list[tuple[int, int]]) -> None:
        self._open_frames += 1
        ends = [start for _page, start in parts[1:]] + [len(piece)]

        def placed(frame: PlacedFrame, base: int) -> None:
            for (page, start), end in zip(parts, ends):
                count = -(-(end - start) // PAGE_BYTES)
                self._runs.append((page, count, frame, base + start))
            self._open_frames -= 1
            self._complete()

        self._frames.add(piece, placed, alone=len(piece) == self._frame_bytes)

    def close(self, entry: FileEntry, digests: bytes) -> bool:
        """No more pages come. False while the map waits for a bundle to be sealed."""
        self._seal()
        self._entry, self._digests = entry, digests
        return self._complete()

    def _complete(self) -> bool:
        if self._entry is None or self._open_frames:
            return False
        self._finished(self._entry, merge(self._previous, self._runs, self._digests))
        return True
