# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a benchmark asks of a contender."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from ..measuring import Command

JOBS = 2
ZSTD_LEVEL = 3


class Contender(Protocol):
    """A tool with an empty repository for the cluster under test, ready to work."""

    name: str
    archive_command: str

    def backup(self, kind: str) -> Command:
        """The command for a backup: `full` or `incremental`."""

    def newest(self) -> str:
        """The last backup that it has made."""

    def restore(self, backup: str, directory: Path, *, delta: bool = False) -> Command:
        """The command that lays a backup out in a directory; nothing is started."""

    def stored_bytes(self) -> int:
        """How much all its backups take, without archived WAL."""


class WalContender(Contender, Protocol):
    """A contender with a background for `archive_command` and `restore_command`."""

    wal_command: str

    def forget_wal(self) -> None:
        """Archive and spool are as if no WAL had been archived yet, and nothing runs in the background."""

    def restore_to_end(self, backup: str, directory: Path) -> Command:
        """The command that lays a backup out so that its server recovers to the end of the archive."""


def bytes_below(*folders: Path) -> int:
    """The sizes of all files."""
    total = 0
    for folder in folders:
        for parent, _folders, names in os.walk(folder):
            total += sum(os.lstat(os.path.join(parent, name)).st_size for name in names)
    return total
