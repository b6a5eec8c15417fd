# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Made-up values for tests that need one and do not care which."""

from __future__ import annotations

from typing import Any

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.keys import WrappingKey
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import Header

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
