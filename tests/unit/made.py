# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up values for tests that need one and do not care which."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.keys import WrappingKey
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import (
    Header,
    Member,
    SetHeader,
)

KEY = WrappingKey(b"k" * 32)
SEGMENT_BYTES = 1 << 20


def header(**changes: Any) -> Header:
    """A full backup's header, its WAL from segment 2 to the middle of segment 3."""
    values: dict[str, Any] = {
        "backup_id": "20260101T000000Z-full-aaaaaa",
        "stanza": "main",
        "backup_type": "full",
        "generation": "20260101T000000Z-full-aaaaaa",
        "parent": None,
        "incarnation": "i" * 16,
        "system_identifier": 7380000000000000001,
        "server_version": 150004,
        "major_version": 15,
        "timeline": 1,
        "start_lsn": 2 * SEGMENT_BYTES + 40,
        "stop_lsn": 3 * SEGMENT_BYTES + 500,
        "wal_segment_bytes": SEGMENT_BYTES,
        "started": "2026-01-01T00:00:00.000000Z",
        "finished": "2026-01-01T00:10:00.000000Z",
        "stop_time": "2026-01-01T00:09:00.000000Z",
        "data_checksums": True,
        "control_file": "",
        "backup_label": "START WAL LOCATION: 0/200028 (file 000000010000000000000002)\n",
    }
    return Header(**{**values, **changes})


def set_header(*databases: str, **changes: Any) -> SetHeader:
    """A logical backup's header."""
    members = tuple(Member("database", each, (f"databases/{each}.dump",), "custom", "") for each in databases)
    values: dict[str, Any] = {
        "backup_id": "20260101T000000Z-dump-aaaaaa",
        "stanza": "main",
        "kind": "logical",
        "backup_type": "full",
        "generation": "20260101T000000Z-dump-aaaaaa",
        "parent": None,
        "started": "2026-01-01T00:00:00.000000Z",
        "finished": "2026-01-01T00:10:00.000000Z",
        "members": members,
    }
    return SetHeader(**{**values, **changes})


_CONTROL_VALUES = {
    0: ("<Q", 7380000000000000001),  # system identifier
    8: ("<I", 1300),  # version of the format
    12: ("<I", 202209061),  # version of the catalog, PostgreSQL 15's
    16: ("<I", 6),  # in production
    40: ("<Q", 1 << 40),  # where the last checkpoint began: after the start of any backup here
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
        for _ignored in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def control_bytes(changes: dict[int, tuple[str, int]] | None = None, crc_offset: int = 288) -> bytes:
    """A control file of PostgreSQL 15; `changes` are {offset: (format, value)}."""
    data = bytearray(8192)
    for offset, (code, value) in {**_CONTROL_VALUES, **(changes or {})}.items():
        struct.pack_into(code, data, offset, value)
    struct.pack_into("<I", data, crc_offset, crc32c(bytes(data[:crc_offset])))
    return bytes(data)


def data_directory(root: Path) -> Path:
    """A data directory of PostgreSQL 15 with hardly anything in it."""
    for name in (
        "base/1",
        "global",
        "pg_commit_ts",
        "pg_logical",
        "pg_multixact",
        "pg_tblspc",
        "pg_twophase",
        "pg_xact",
    ):
        (root / name).mkdir(parents=True)
    (root / "pg_wal/archive_status").mkdir(parents=True)
    (root / "global/pg_control").write_bytes(control_bytes())
    (root / "PG_VERSION").write_text("15\n")
    return root
