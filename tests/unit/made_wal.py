# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL made by hand."""

from __future__ import annotations

import struct

from made import SEGMENT_BYTES
from made_cluster import IDENTIFIER

LIFE = "1" * 16


def name_of(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{number:016X}"


def wal(number: int, timeline: int = 1, identifier: int = IDENTIFIER) -> bytes:
    """A segment of PostgreSQL 15."""
    head = struct.pack("<HHIQ8xQII", 0xD110, 2, timeline, number * SEGMENT_BYTES, identifier, SEGMENT_BYTES, 8192)
    return head.ljust(SEGMENT_BYTES, b"\0")
