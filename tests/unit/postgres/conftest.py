# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control file made by hand, for tests that need no server."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

VALUES = {
    0: ("<Q", 7380000000000000001),  # system identifier
    8: ("<I", 1300),  # version of the format
    12: ("<I", 202209061),  # version of the catalog, PostgreSQL 15's
    16: ("<I", 6),  # in production
    48: ("<I", 1),  # timeline
    172: ("<I", 1),  # wal_level
    216: ("<I", 8192),  # page size
    220: ("<I", 131072),  # pages of a segment
    228: ("<I", 16 << 20),  # WAL segment size
}


def crc32c(data: bytes) -> int:
    """The definition, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.fixture
def control_bytes() -> Callable[..., bytes]:
    """Makes a control file; `changes` are {offset: (format, value)}."""
    assert crc32c(b"123456789") == 0xE3069283  # the check value that CRC catalogues give

    def make(changes: dict[int, tuple[str, int]] | None = None, crc_offset: int = 288) -> bytes:
        data = bytearray(8192)
        for offset, (code, value) in {**VALUES, **(changes or {})}.items():
            struct.pack_into(code, data, offset, value)
        struct.pack_into("<I", data, crc_offset, crc32c(bytes(data[:crc_offset])))
        return bytes(data)

    return make
