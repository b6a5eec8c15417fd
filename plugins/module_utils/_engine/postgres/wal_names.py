# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL positions and the names of the files in `pg_wal` and in an archive.

An LSN is a byte's number in the stream of all WAL ever written; here it is a plain integer. The
stream is cut into segments of equal size, numbered from zero; a segment's file is named after its
timeline and its number, the number split at each 4 GiB of stream.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ..errors import PreconditionError

Lsn = int

SMALLEST_SEGMENT = 1 << 20
LARGEST_SEGMENT = 1 << 30

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", re.ASCII)
_FILE_NAME = re.compile(
    r"(?P<segment>[0-9A-F]{24})(?P<suffix>\.partial|\.[0-9A-F]{8}\.backup)?|(?P<history>[0-9A-F]{8})\.history"
)


class WalFileKind(Enum):
    """What a file that PostgreSQL archives is."""

    SEGMENT = "segment"
    PARTIAL = "partial"  # a timeline's last segment, set aside by a promotion
    HISTORY = "history"
    BACKUP_HISTORY = "backup_history"


@dataclass(frozen=True)
class WalSegment:
    """One segment of one timeline."""

    timeline: int
    number: int
    size: int

    @property
    def name(self) -> str:
        """The file's name, 24 hexadecimal digits."""
        high, low = divmod(self.number, _segments_per_4_gib(self.size))
        return f"{self.timeline:08X}{high:08X}{low:08X}"

    @property
    def start_lsn(self) -> Lsn:
        """The position of the segment's first byte."""
        return self.number * self.size


def parse_lsn(text: str) -> Lsn:
    """Read PostgreSQL's way to write an LSN, such as `0/16B3748`."""
    match = _LSN.fullmatch(text)
    if match is None:
        raise PreconditionError(
            f"reading the WAL location {text!r}",
            "it is not one.",
            "A WAL location is two hexadecimal numbers with a slash between, such as 0/16B3748.",
            code="lsn_invalid",
        )
    return int(match.group(1), 16) << 32 | int(match.group(2), 16)


def format_lsn(lsn: Lsn) -> str:
    """Write an LSN as PostgreSQL does."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def is_segment_size(size: int) -> bool:
    """Whether a server can have this WAL segment size: a power of two from 1 MiB to 1 GiB."""
    return SMALLEST_SEGMENT <= size <= LARGEST_SEGMENT and size & (size - 1) == 0


def segment_of(lsn: Lsn, timeline: int, size: int) -> WalSegment:
    """The segment that holds the byte at `lsn`."""
    return WalSegment(timeline, lsn // size, size)


def segments_between(start_lsn: Lsn, stop_lsn: Lsn, timeline: int, size: int) -> Iterator[WalSegment]:
    """The segments with the bytes from `start_lsn` up to, not including, `stop_lsn`.

    A stop at a segment's very first byte needs nothing of that segment.
    """
    for number in range(start_lsn // size, -(-stop_lsn // size)):
        yield WalSegment(timeline, number, size)


def classify(name: str) -> WalFileKind | None:
    """What kind of file a name belongs to; None when PostgreSQL would never archive it."""
    match = _FILE_NAME.fullmatch(name)
    if match is None:
        return None
    if match["history"]:
        return WalFileKind.HISTORY
    if not match["suffix"]:
        return WalFileKind.SEGMENT
    return WalFileKind.PARTIAL if match["suffix"] == ".partial" else WalFileKind.BACKUP_HISTORY


def is_wal_file_name(name: str) -> bool:
    """Whether PostgreSQL could hand a file of this name to `archive_command` or ask for it."""
    return classify(name) is not None


def parse_segment_name(name: str, size: int) -> WalSegment:
    """The segment that a segment's, partial's or backup history file's name begins with."""
    match = _FILE_NAME.fullmatch(name)
    if match is None or not match["segment"]:
        raise _invalid(name, "it is not 24 hexadecimal digits.")
    timeline, high, low = (int(name[start : start + 8], 16) for start in (0, 8, 16))
    if low >= _segments_per_4_gib(size):
        raise _invalid(name, f"with WAL segments of {size >> 20} MiB no segment has this number.")
    return WalSegment(timeline, high * _segments_per_4_gib(size) + low, size)


def timeline_of(name: str) -> int:
    """The timeline that any WAL file's name begins with."""
    if not is_wal_file_name(name):
        raise _invalid(name, "it is no WAL file's name.")
    return int(name[:8], 16)


def history_name(timeline: int) -> str:
    """The name of a timeline's history file."""
    return f"{timeline:08X}.history"


def _segments_per_4_gib(size: int) -> int:
    return (1 << 32) // size


def _invalid(name: str, happened: str) -> PreconditionError:
    return PreconditionError(
        f"reading the WAL file name {name!r}",
        happened,
        "Give a file of pg_wal; archive_command and restore_command do it with %f and %p.",
        code="wal_name_invalid",
    )
