# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An object that is read from its beginning to its end, in as few requests as memory allows."""

from __future__ import annotations

from ..store.base import Store

READ_BYTES = 16 << 20


class LargeReads:
    """What reading a stream needs of a store, for one object whose size a listing has told."""

    def __init__(self, store: Store, size: int) -> None:
        self.url = store.url
        self._store = store
        self._size = size
        self._start, self._bytes = 0, b""

    def size(self, _name: str) -> int:
        """Without a request."""
        return self._size

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes; what follows comes along, for the next call."""
        if offset < self._start or offset + length > self._start + len(self._bytes):
            self._bytes = self._store.get_range(name, offset, min(max(length, READ_BYTES), self._size - offset))
            self._start = offset
        return self._bytes[offset - self._start : offset - self._start + length]
