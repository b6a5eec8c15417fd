# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of pg_dump's own archive formats."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

MAGIC = b"PGDMP"

_FORMATS = {1: "custom", 3: "tar", 5: "directory"}
_LONGEST = 1 << 12
_ONE_BYTE_COMPRESSION = (1, 15)  # an integer before


@dataclass(frozen=True)
class ArchiveHeader:
    """What an archive says of itself. `made_at` is the local time of the machine that dumped."""

    version: tuple[int, int, int]
    format: str
    made_at: datetime | None
    database: str | None
    server_version: str | None
    program_version: str | None


def parse(head: bytes) -> ArchiveHeader | None:
    """Read the header; nothing when this is none, or not whole."""
    if not head.startswith(MAGIC) or len(head) < 11:
        return None
    major, minor, revision, int_size, _offset_size, archive_format = head[5:11]
    if archive_format not in _FORMATS or not 1 <= int_size <= 8:
        return None
    reader = _Reader(head, 11, int_size)
    try:
        reader.skip(1) if (major, minor) >= _ONE_BYTE_COMPRESSION else reader.integer()
        made_at = _time([reader.integer() for _number in range(7)])
        words = [reader.text() for _number in range(3)]
    except IndexError:
        return None
    return ArchiveHeader((major, minor, revision), _FORMATS[archive_format], made_at, *words)


class _Reader:
    def __init__(self, data: bytes, at: int, int_size: int) -> None:
        self._data = data
        self._at = at
        self._int_size = int_size

    def skip(self, size: int) -> bytes:
        found = self._data[self._at : self._at + size]
        if len(found) < size:
            raise IndexError
        self._at += size
        return found

    def integer(self) -> int:
        sign = self.skip(1)[0]
        value = int.from_bytes(self.skip(self._int_size), "little")
        return -value if sign else value

    def text(self) -> str | None:
        size = self.integer()
        if size > _LONGEST:
            raise IndexError
        return self.skip(size).decode("utf-8", "replace") if size >= 0 else None


def _time(fields: list[int]) -> datetime | None:
    """From a C `struct tm`."""
    second, minute, hour, day, month, year, _is_summer = fields
    try:
        return datetime(year + 1900, month + 1, day, hour, minute, min(second, 59))
    except (ValueError, OverflowError):
        return None
