# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifest lines on their way from many workers into one order.

The manifest lists files in the order in which a data directory is walked, so that the next backup
can go through it and the directory side by side, without keeping either in memory. Workers finish
in any order; lines wait in a temporary file.
"""

from __future__ import annotations

import tempfile
import threading
from array import array
from collections.abc import Iterable, Iterator


class EntrySpool:
    """Takes numbered lines, each number at most once, and gives them back by number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._file = tempfile.TemporaryFile(prefix="lifeboat-")
        self._numbers, self._offsets, self._lengths = array("Q"), array("Q"), array("Q")
        self._end = 0

    def add(self, number: int, line: bytes) -> None:
        """Keep a line."""
        with self._lock:
            self._file.write(line)
            self._numbers.append(number)
            self._offsets.append(self._end)
            self._lengths.append(len(line))
            self._end += len(line)

    def lines(self) -> Iterator[bytes]:
        """All lines by number. Nothing may be added any more."""
        for index in sorted(range(len(self._numbers)), key=self._numbers.__getitem__):
            yield self._line(index)

    def lines_of(self, numbers: Iterable[int]) -> Iterator[bytes]:
        """The lines of these numbers, in this order; a number without a line is passed over."""
        indexes = array("q", [-1]) * (max(self._numbers, default=-1) + 1)
        for index, number in enumerate(self._numbers):
            indexes[number] = index
        for number in numbers:
            if number < len(indexes) and indexes[number] >= 0:
                yield self._line(indexes[number])

    def _line(self, index: int) -> bytes:
        self._file.seek(self._offsets[index])
        return self._file.read(self._lengths[index])

    def __enter__(self) -> EntrySpool:
        return self

    def __exit__(self, *exception: object) -> None:
        """Give the disk space back."""
        self._file.close()
