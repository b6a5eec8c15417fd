# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the server says about its archiving."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .connection import Connection


@dataclass(frozen=True)
class ArchiverStatus:
    """`pg_stat_archiver`, as far as messages need it."""

    archived_count: int
    last_archived: str | None
    last_archived_time: datetime | None
    failed_count: int
    last_failed: str | None
    last_failed_time: datetime | None

    @property
    def failing(self) -> bool:
        """Whether the newest attempt failed."""
        if self.last_failed_time is None:
            return False
        return self.last_archived_time is None or self.last_failed_time > self.last_archived_time

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
            " failed_count, last_failed_wal, last_failed_time FROM pg_stat_archiver",
        )
    )
