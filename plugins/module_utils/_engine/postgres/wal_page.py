# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of a WAL segment's first page: whose WAL it is, and which part of it.

A segment's name is only a claim. The first page repeats it from the inside, with the identity of
the cluster that wrote it; a file under a wrong name or from another server is caught here, before
it is archived or replayed. The server writes that page first when it reuses an old file, so this
holds for recycled segments too.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ..errors import IntegrityError, UnsupportedError
from .wal_names import Lsn, format_lsn, is_segment_size, parse_segment_name

HEADER_BYTES = 40

# the number every WAL page begins with -> the major version that writes it
_VERSIONS = {0xD106: 13, 0xD10D: 14, 0xD110: 15, 0xD113: 16, 0xD116: 17, 0xD118: 18}
_MAGIC_FAMILY = 0xD1  # the high byte since PostgreSQL 13, and for years to come

# magic, flags, timeline, address; system identifier, segment size, WAL page size
_LONG_HEADER = struct.Struct("<HHIQ8xQII")
_LONG_HEADER_FLAG = 0x0002
_ALL_FLAGS = 0x000F
_WAL_PAGE_BYTES = 8192


@dataclass(frozen=True)
class WalPageHeader:
    """What a segment says of itself."""

    version: int
    timeline: int
    address: Lsn
    system_identifier: int
    segment_size: int


def parse(head: bytes, name: str) -> WalPageHeader:
    """Read the first bytes of the WAL file `name`, at least `HEADER_BYTES` of them."""
    attempted = f"reading the WAL segment {name}"
    if len(head) < HEADER_BYTES:
        raise _not_a_segment(attempted, f"it has only {len(head)} bytes.")
    magic, flags, timeline, address, identifier, segment_size, page_size = _LONG_HEADER.unpack_from(head)
    if magic not in _VERSIONS and magic >> 8 == _MAGIC_FAMILY:
        raise UnsupportedError(
            attempted,
            f"its format {magic:#06x} belongs to a version of PostgreSQL that is not known here.",
            "Use a Lifeboat that supports this version of PostgreSQL.",
            code="postgres_version_unsupported",
        )
    if (
        magic not in _VERSIONS
        or not flags & _LONG_HEADER_FLAG
        or flags & ~_ALL_FLAGS
        or not is_segment_size(segment_size)
        or page_size != _WAL_PAGE_BYTES
        or address % segment_size
    ):
        raise _not_a_segment(attempted, "it does not begin like one.")
    return WalPageHeader(_VERSIONS[magic], timeline, address, identifier, segment_size)


def check_segment(head: bytes, name: str, system_identifier: int, version: int, segment_size: int) -> WalPageHeader:
    """Make sure that a segment belongs to this cluster and to its name; returns its header.

    `name` may also be a partial segment's.
    """
    attempted = f"checking the WAL segment {name}"
    header = parse(head, name)
    if header.system_identifier != system_identifier:
        raise IntegrityError(
            attempted,
            f"it was written by the cluster {header.system_identifier}, not by {system_identifier}.",
            "Find out how WAL of another server got here: two servers may use one archive or one pg_wal.",
            code="wal_foreign_system",
            file=name,
        )
    if (header.version, header.segment_size) != (version, segment_size):
        raise IntegrityError(
            attempted,
            f"it was written by PostgreSQL {header.version} with segments of {header.segment_size >> 20} MiB,"
            f" not by {version} with {segment_size >> 20} MiB.",
            "Find out how WAL from before an upgrade or a change of the segment size got here.",
            code="wal_foreign_system",
            file=name,
        )
    segment = parse_segment_name(name, segment_size)
    # A promotion copies the old timeline's last segment: its first page keeps the old number.
    if header.address != segment.start_lsn or not 1 <= header.timeline <= segment.timeline:
        raise IntegrityError(
            attempted,
            f"its content is the WAL at {format_lsn(header.address)} of timeline {header.timeline}.",
            "The file was renamed, copied over or not written yet; fetch it again from the server.",
            code="wal_wrong_name",
            file=name,
        )
    return header


def _not_a_segment(attempted: str, happened: str) -> IntegrityError:
    return IntegrityError(
        attempted,
        happened,
        "The file is damaged, was never written, or is something else; fetch it again from the server.",
        code="wal_not_a_segment",
    )
