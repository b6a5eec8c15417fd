# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing pieces of files into frames.

A piece as large as a frame gets one of its own. Smaller ones - small files, ends of large ones,
scattered changed pages - are bundled, so that a hundred thousand little relations do not make a
hundred thousand frames. Where a piece has come to lie is told when its frame is sealed.
"""

from __future__ import annotations

from collections.abc import Callable

from ..repository.compression import Buffer
from ..repository.packs import PackWriter, PlacedFrame
from ..repository.sealed import FRAME_RAW_BYTES

# Told the frame and where in its raw bytes the piece begins.
Placed = Callable[[PlacedFrame, int], None]


class FrameBuilder:
    """Seals one worker's pieces into its packs."""

    def __init__(self, packs: PackWriter) -> None:
        self._packs = packs
        self._bundle = bytearray()
        self._waiting: list[tuple[Placed, int]] = []

    def add(self, piece: Buffer, placed: Placed, *, alone: bool = False) -> None:
        """Take a piece of at most a frame's size; whoever gave it may use its memory again."""
        if alone or len(piece) == FRAME_RAW_BYTES:
            placed(self._packs.append(piece), 0)
            return
        if len(self._bundle) + len(piece) > FRAME_RAW_BYTES:
            self.flush()
        self._waiting.append((placed, len(self._bundle)))
        self._bundle += piece

    def flush(self) -> None:
        """Seal what is bundled."""
        if not self._waiting:
            return
        frame = self._packs.append(self._bundle)
        waiting, self._waiting = self._waiting, []
        self._bundle.clear()
        for placed, start in waiting:
            placed(frame, start)

    def finish(self) -> None:
        """Seal the rest and make the last pack durable."""
        self.flush()
        self._packs.finish()
