# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a file's bytes come from: an open file, or a stream that brings them once.

Workers read both in the same way. A local file can be read again, so that a torn page is told from
a damaged one; what a stream has brought is all there is.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

_POLL_SECONDS = 0.2


def window(size: int) -> memoryview:
    """Memory to read into.

    It begins at a page. A large bytearray begins 16 bytes behind one, and to there the kernel copies from its page
    cache at a quarter of the speed.
    """
    return memoryview(mmap.mmap(-1, size))


class Content(Protocol):
    """A file's content and what is known of the file: size and time as of its opening, permission bits."""

    size: int
    mtime_ns: int
    mode: int
    can_be_read_again: bool

    def read_into(self, window: memoryview, offset: int) -> int:
        """Fill the window with what is at `offset`, in ascending order; less only at the end."""

    def read_again(self, length: int, offset: int) -> bytes:
        """What is there now, if it can be read again."""

    def is_untouched(self) -> bool:
        """Whether the file was left alone since its opening, as far as its size and time tell."""


class LocalContent:
    """A file of this host."""

    can_be_read_again = True

    def __init__(self, handle: int) -> None:
        self._handle = handle
        facts = os.fstat(handle)
        self.size, self.mtime_ns, self.mode = facts.st_size, facts.st_mtime_ns, facts.st_mode & 0o777

    def read_into(self, window: memoryview, offset: int) -> int:
        return os.preadv(self._handle, [window], offset)

    def read_again(self, length: int, offset: int) -> bytes:
        return os.pread(self._handle, length, offset)

    def is_untouched(self) -> bool:
        now = os.fstat(self._handle)
        return (now.st_mtime_ns, now.st_size) == (self.mtime_ns, self.size)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[LocalContent]:
    """A local file, which must not be a link."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        yield LocalContent(handle)
    finally:
        os.close(handle)


class StreamStopped(Exception):
    """The other side has failed and brings no more: its error is the one to tell."""


class Handover:
    """What all files of one stream share: how much may wait between stream and workers, and whether anybody failed."""

    def __init__(self, most_bytes: int) -> None:
        self.failed = threading.Event()
        self.changed = threading.Condition()
        self.room = most_bytes


class StreamContent:
    """A file that a stream brings: one thread gives, another reads."""

    can_be_read_again = False

    def __init__(self, handover: Handover, size: int, mtime_ns: int, mode: int) -> None:
        self._handover = handover
        self.size, self.mtime_ns, self.mode = size, mtime_ns, mode
        self._pieces: deque[memoryview] = deque()
        self._left = size  # to be given

    def give(self, piece: memoryview) -> bool:
        """Hand over the next bytes when there is room for them. False once somebody has failed."""
        handover = self._handover
        with handover.changed:
            while handover.room <= 0:
                if handover.failed.is_set():
                    return False
                handover.changed.wait(_POLL_SECONDS)
            self._pieces.append(piece)
            self._left -= len(piece)
            handover.room -= len(piece)
            handover.changed.notify_all()
        return True

    def read_into(self, window: memoryview, offset: int) -> int:
        filled = 0
        while filled < len(window):
            piece = self._next(len(window) - filled)
            if not piece:
                break
            window[filled : filled + len(piece)] = piece
            filled += len(piece)
        return filled

    def _next(self, most: int) -> memoryview:
        """The next bytes, empty at the end."""
        handover = self._handover
        with handover.changed:
            while not self._pieces:
                if not self._left:
                    return memoryview(b"")
                if handover.failed.is_set():
                    raise StreamStopped
                handover.changed.wait(_POLL_SECONDS)
            piece = self._pieces.popleft()
            if len(piece) > most:
                self._pieces.appendleft(piece[most:])
                piece = piece[:most]
            handover.room += len(piece)
            handover.changed.notify_all()
        return piece

    def read_again(self, length: int, offset: int) -> bytes:
        return b""

    def is_untouched(self) -> bool:
        return True
