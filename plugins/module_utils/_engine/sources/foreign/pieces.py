# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytes that come in pieces, and can be looked at before they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

SIZE = 1 << 18


class Pieces:
    """A stream of bytes that is read once. Its end is a good one: what breaks off raises instead."""

    def __init__(self, source: Iterable[bytes]) -> None:
        self._source = iter(source)
        self._ahead = b""

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, fewer only at the end; they are still to be read."""
        while len(self._ahead) < size:
            piece = next(self._source, None)
            if piece is None:
                break
            self._ahead += piece
        return self._ahead[:size]

    def read(self, size: int = SIZE) -> bytes:
        """The next `size` bytes, fewer only at the end."""
        found = self.peek(size)
        self._ahead = self._ahead[len(found) :]
        return found

    def __iter__(self) -> Iterator[bytes]:
        ahead, self._ahead = self._ahead, b""
        if ahead:
            yield ahead
        yield from self._source

    def __next__(self) -> bytes:
        if self._ahead:
            ahead, self._ahead = self._ahead, b""
            return ahead
        return next(self._source)
