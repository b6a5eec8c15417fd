# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running server writes into its data directory about itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .control_file import unreadable


@dataclass(frozen=True)
class PostmasterPid:
    """The lines of postmaster.pid that we use."""

    pid: int
    start_time: int
    port: int
    socket_directory: str
    listen_address: str


def _lines(data_directory: Path) -> list[str]:
    path = data_directory / "postmaster.pid"
    try:
        return path.read_text().split("\n")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as exc:
        raise unreadable(path, exc) from exc


def read(data_directory: Path) -> PostmasterPid | None:
    """The running server's note, or None when there is none or it is still being written."""
    return _parsed(_lines(data_directory))


def parse(text: str) -> PostmasterPid | None:
    """The same of what somebody else has read there."""
    return _parsed(text.split("\n"))


def _parsed(lines: list[str]) -> PostmasterPid | None:
    try:
        return PostmasterPid(int(lines[0]), int(lines[2]), int(lines[3]), lines[4].strip(), lines[5].strip())
    except (ValueError, IndexError):
        return None


def is_running(data_directory: Path) -> bool:
    """Whether a live process claims the directory.

    A stale file whose number now belongs to another process counts as running: better to refuse
    than to write below a server.
    """
    try:
        os.kill(abs(int(_lines(data_directory)[0])), 0)
    except (ProcessLookupError, ValueError, IndexError):
        return False
    except PermissionError:
        return True
    return True
