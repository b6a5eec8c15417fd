# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of the server's log: what archive_command printed is nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import LifeboatError
from .connection import Connection
from .service import log_file

_TAIL_BYTES = 65536


def tail(connection: Connection | None, data_directory: Path | None) -> list[str]:
    """Its last lines, as far as it can be found and read: by the server itself, or in the file it writes to."""
    text = _collected(connection) if connection is not None else None
    if text is None and data_directory is not None:
        text = _written(data_directory)
    return text.splitlines() if text else []


def about(lines: list[str], *words: str, most: int = 6) -> list[str]:
    """The newest lines with any of these words."""
    found = [line.strip() for line in lines if any(word in line for word in words)]
    return found[-most:]


def _collected(connection: Connection) -> str | None:
    """What the collector has written, by way of the server; None without a collector, or leave to read."""
    try:
        (content,) = connection.row(
            "reading the server's log",
            "SELECT pg_read_binary_file(path, greatest(0, (pg_stat_file(path)).size - %s), %s)"
            " FROM pg_current_logfile() AS path WHERE path IS NOT NULL"
            " UNION ALL SELECT NULL LIMIT 1",
            _TAIL_BYTES,
            _TAIL_BYTES,
        )
    except LifeboatError:
        return None
    return bytes(content).decode("utf-8", "replace") if content is not None else None


def _written(data_directory: Path) -> str | None:
    path = log_file(data_directory)
    try:
        if path is None:
            return None
        with path.open("rb") as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL_BYTES))
            return stream.read().decode("utf-8", "replace")
    except OSError:
        return None
