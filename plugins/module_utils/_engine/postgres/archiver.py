# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server says about its archiving."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .connection import Connection

# Whether the newest attempt failed, asked of `pg_stat_archiver`.
FAILING = "last_failed_time IS NOT NULL AND (last_archived_time IS NULL OR last_failed_time > last_archived_time)"


@dataclass(frozen=True)
class ArchiverStatus:
    """`pg_stat_archiver`, as far as messages need it."""

    archived_count: int
    last_archived: str | None
    last_archived_time: datetime | None
    failed_count: int
    last_failed: str | None
    last_failed_time: datetime | None
    failing: bool

    def describe_failure(self) -> str:
        """How archiving goes, in words."""
        if not self.failing or self.last_failed_time is None:
            return f"The server reports no failure; the last archived file is {self.last_archived or 'none'}."
        return f"The server last failed to archive {self.last_failed} at {self.last_failed_time:%Y-%m-%d %H:%M:%S%z}."


def status(connection: Connection) -> ArchiverStatus:
    """Read it."""
    return ArchiverStatus(
        *connection.row(
            "reading pg_stat_archiver",
            "SELECT archived_count, last_archived_wal, last_archived_time,"
            f" failed_count, last_failed_wal, last_failed_time, {FAILING} FROM pg_stat_archiver",
        )
    )
