# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The low-level backup API: one session held from start to stop, in either of its spellings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import IntegrityError
from .connection import Connection
from .wal_names import Lsn, parse_lsn

_TIMELINE = re.compile(r"^START TIMELINE: (\d+)$", re.MULTILINE)
_START = re.compile(r"^START WAL LOCATION: ([0-9A-F]+/[0-9A-F]+) ", re.MULTILINE)


@dataclass(frozen=True)
class BackupStop:
    """What the server hands out when a backup ends.

    Its tablespace map is left aside: a restore makes the links itself, to the places it was told.
    """

    start_lsn: int
    stop_lsn: int
    timeline: int
    backup_label: str


class BackupMode:
    """Starts and stops backup mode. If the session ends first, the server forgets the backup."""

    def __init__(self, connection: Connection, major: int) -> None:
        self._connection = connection
        self._new_names = major >= 15

    def start(self, label: str, *, fast: bool) -> int:
        """Begin; returns the LSN from which WAL is needed."""
        query = "SELECT pg_backup_start(%s, fast => %s)" if self._new_names else "SELECT pg_start_backup(%s, %s, false)"
        (lsn,) = self._connection.row("starting backup mode", query, label, fast)
        return parse_lsn(lsn)

    def stop(self) -> BackupStop:
        """End without waiting for the archive: the caller looks into the repository itself."""
        query = (
            "SELECT lsn, labelfile FROM pg_backup_stop(wait_for_archive => false)"
            if self._new_names
            else "SELECT lsn, labelfile FROM pg_stop_backup(false, false)"
        )
        lsn, label = self._connection.row("stopping backup mode", query)
        return parse_label(label, parse_lsn(lsn))


def parse_label(label: str, stop_lsn: Lsn) -> BackupStop:
    """A backup's start and timeline are in its label."""
    timeline, start = _TIMELINE.search(label), _START.search(label)
    if timeline is None or start is None:
        raise IntegrityError(
            "stopping backup mode",
            "the server's backup label has no start location or timeline.",
            "Report this with the server's exact version.",
            code="backup_label_unreadable",
        )
    return BackupStop(parse_lsn(start.group(1)), stop_lsn, int(timeline.group(1)), label)
