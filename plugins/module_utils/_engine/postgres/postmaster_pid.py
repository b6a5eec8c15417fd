# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running server writes into its data directory about itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class PostmasterPid:
    """The lines of postmaster.pid that we use."""

    pid: int
    start_time: int
    port: int
    socket_directory: str
    listen_address: str


def read(data_directory: Path) -> PostmasterPid | None:
    """The running server's note, or None when there is none or it is still being written."""
    try:
        lines = (data_directory / "postmaster.pid").read_text().split("\n")
        return PostmasterPid(int(lines[0]), int(lines[2]), int(lines[3]), lines[4].strip(), lines[5].strip())
    except (FileNotFoundError, ValueError, IndexError):
        return None


def is_running(data_directory: Path) -> bool:
    """Whether a live process claims the directory.

    A stale file whose number now belongs to another process counts as running: better to refuse
    than to write below a server.
    """
    try:
        first = (data_directory / "postmaster.pid").read_text().split("\n")[0]
        os.kill(abs(int(first)), 0)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return False
    except PermissionError:
        return True
    return True
