# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a tar archive as it comes, member by member, in any pieces.

What PostgreSQL sends is plain ustar with sizes above 8 GiB in base 256. Everything else is refused
rather than guessed at: an archive that is misread is a backup that lacks files. Python's own
`tarfile` takes a damaged header in the middle for the end of the archive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ..errors import IntegrityError, LifeboatError, UnsupportedError

BLOCK_BYTES = 512
_NAME, _MODE, _SIZE, _MTIME = slice(0, 100), slice(100, 108), slice(124, 136), slice(136, 148)
_CHECKSUM, _TYPE, _LINK, _MAGIC, _PREFIX = slice(148, 156), 156, slice(157, 257), slice(257, 262), slice(345, 500)
_BASE_256 = 0x80


class MemberKind(Enum):
    """What a member is; the value is its type flag."""

    FILE = "0"
    LINK = "2"
    DIRECTORY = "5"


@dataclass(frozen=True)
class Member:
    """One entry of an archive; the time is in seconds, `target` where a link leads."""

    kind: MemberKind
    name: str
    size: int
    mode: int
    mtime: int
    target: str = ""


class TarReader:
    """Gives an archive's members; between two of them, `content` gives the bytes of the last one."""

    def __init__(self, pieces: Iterator[memoryview], attempted: str) -> None:
        """`attempted` says for messages what the archive is part of."""
        self._pieces = pieces
        self._attempted = attempted
        self._rest = memoryview(b"")
        self._left = self._padding = 0  # of the present member

    def members(self) -> Iterator[Member]:
        """Every member. What the caller has not read of one is passed over."""
        while True:
            for _piece in self.content():
                pass
            self._skip(self._padding)
            self._padding = 0
            block = self._block()
            if block is None:
                return
            if not any(block):
                self._end()
                return
            member = self._parse(block)
            self._left = member.size
            self._padding = -member.size % BLOCK_BYTES
            yield member

    def content(self) -> Iterator[memoryview]:
        """The present member's bytes, in pieces as they come."""
        while self._left:
            piece = self._take(self._left)
            self._left -= len(piece)
            yield piece

    def _take(self, most: int) -> memoryview:
        """At least one byte, and at most so many."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                raise self._cut_short()
            self._rest = piece
        taken, self._rest = self._rest[:most], self._rest[most:]
        return taken

    def _skip(self, count: int) -> None:
        while count:
            count -= len(self._take(count))

    def _block(self) -> bytes | None:
        """The next header; None where the archive has come to its end without one."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return None
            self._rest = piece
        block = bytearray()
        while len(block) < BLOCK_BYTES:
            block += self._take(BLOCK_BYTES - len(block))
        return bytes(block)

    def _end(self) -> None:
        """After a block of zeros nothing but zeros may come."""
        while (block := self._block()) is not None:
            if any(block):
                raise self._damaged("there is more behind its end.")

    def _parse(self, block: bytes) -> Member:
        stored = self._number(block, _CHECKSUM)
        if stored != sum(block[: _CHECKSUM.start]) + 8 * ord(" ") + sum(block[_CHECKSUM.stop :]):
            raise self._damaged("a header's checksum does not match its content.")
        name = _text(block, _NAME)
        if block[_MAGIC] == b"ustar" and block[_PREFIX.start]:
            name = f"{_text(block, _PREFIX)}/{name}"
        flag = chr(block[_TYPE]) if block[_TYPE] else MemberKind.FILE.value
        if flag not in _KINDS:
            raise UnsupportedError(
                self._attempted,
                f"the archive's member {name!r} is of the unknown type {flag!r}.",
                "Report this with the server's exact version: PostgreSQL sends files, directories and links only.",
                code="tar_member_unsupported",
            )
        kind = _KINDS[flag]
        return Member(
            kind=kind,
            name=name.rstrip("/"),
            size=self._number(block, _SIZE) if kind is MemberKind.FILE else 0,
            mode=self._number(block, _MODE) & 0o7777,
            mtime=self._number(block, _MTIME),
            target=_text(block, _LINK),
        )

    def _number(self, block: bytes, field: slice) -> int:
        """Octal digits, or big-endian behind a marked first byte."""
        data = block[field]
        if data[0] & _BASE_256:
            return int.from_bytes(bytes([data[0] & ~_BASE_256]) + data[1:], "big")
        digits = data.rstrip(b"\0 ").lstrip()
        try:
            return int(digits or b"0", 8)
        except ValueError:
            raise self._damaged(f"a header has {data!r} for a number.") from None

    def _cut_short(self) -> LifeboatError:
        return self._damaged("the archive is cut short.")

    def _damaged(self, happened: str) -> LifeboatError:
        return IntegrityError(
            self._attempted,
            happened,
            "Run it again; if it happens again, find out what alters the data between the server and this host.",
            code="tar_stream_damaged",
        )


_KINDS = {kind.value: kind for kind in MemberKind}


def _text(block: bytes, field: slice) -> str:
    return block[field].partition(b"\0")[0].decode("utf-8", "surrogateescape")
