# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that a program writes as we read it: of unknown length, cut into frames, never on this host's disk.

One thread reads and digests, another compresses, seals and writes; neither waits for the other for long.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable

from ..repository.digests import Digester
from ..repository.manifest import Chunk, FileEntry
from ..repository.packs import PackWriter
from ..repository.sealed import FRAME_RAW_BYTES

_WAITING_FRAMES = 8
_MODE = 0o600


class _Sealing(threading.Thread):
    """Seals what it is given, in order, until it is given nothing."""

    def __init__(self, packs: PackWriter) -> None:
        super().__init__(name="seal", daemon=True)
        self._packs = packs
        self._waiting: queue.Queue[bytes | bytearray | None] = queue.Queue(_WAITING_FRAMES)
        self.chunks: list[Chunk] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        while (raw := self._waiting.get()) is not None:
            if self.error is None:
                try:
                    self.chunks.append(Chunk(self._packs.append(raw), 0, len(raw)))
                except BaseException as exc:  # for the thread that reads
                    self.error = exc

    def give(self, raw: bytes | bytearray | None) -> None:
        """The next frame's bytes; None at the end."""
        if self.error is not None:
            raise self.error
        self._waiting.put(raw)

    def end(self) -> None:
        """Wait until all of it is sealed."""
        self._waiting.put(None)
        self.join()


def store(
    path: str,
    pieces: Iterable[bytes],
    packs: PackWriter,
    digester: Digester,
    mtime_ns: int,
    told: Callable[[int], None],
) -> FileEntry:
    """Bring a stream into packs. Its frames are durable when the packs are finished; `told` hears of every piece."""
    digest, size, frame = digester.file(), 0, bytearray()
    sealing = _Sealing(packs)
    sealing.start()
    try:
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
            told(len(piece))
            frame += piece
            while len(frame) >= FRAME_RAW_BYTES:
                sealing.give(frame[:FRAME_RAW_BYTES])
                del frame[:FRAME_RAW_BYTES]
        if frame:
            sealing.give(frame)
    finally:
        sealing.end()
    if sealing.error is not None:
        raise sealing.error
    return FileEntry(path, size, mtime_ns, _MODE, digest=digest.hexdigest(), chunks=tuple(sealing.chunks))
