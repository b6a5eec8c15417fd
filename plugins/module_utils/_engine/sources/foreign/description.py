# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody's file or directory is, as far as its content says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

# Kinds of content.
SQL = "sql"  # a script: pg_dump's, pg_dumpall's or any other
ARCHIVE = "archive"  # pg_dump's custom format
ARCHIVE_TAR = "archive_tar"
ARCHIVE_DIRECTORY = "archive_directory"
SQLITE = "sqlite"
FILE_SET = "file_set"  # a tar of anything
BASE_BACKUP_TAR = "base_backup_tar"  # the one file base.tar
BASE_BACKUP = "base_backup"  # a directory of pg_basebackup's tar files
DATA_DIRECTORY = "data_directory"  # plain pg_basebackup, or a copy of a data directory
WAL_ARCHIVE = "wal_archive"
CSV = "csv"
UNKNOWN = "unknown"

# What goes into pg_restore.
ARCHIVES = frozenset({ARCHIVE, ARCHIVE_TAR, ARCHIVE_DIRECTORY})


@dataclass(frozen=True)
class Layer:
    """Something that was put around the content: `gzip`, `openpgp`, `openssl`; outermost first."""

    name: str
    is_encryption: bool
    detail: str = ""


@dataclass(frozen=True)
class Payload:
    """The content. Versions are as the file has them: `17.2 (Debian 17.2-1)`.

    `made_at` is by the clock and in the time zone of the machine that dumped. `is_complete` is
    None where a beginning does not tell.
    """

    kind: str
    server_version: str | None = None
    program_version: str | None = None
    database: str | None = None
    made_at: datetime | None = None
    of_cluster: bool = False  # all databases
    is_complete: bool | None = None
    note: str = ""


@dataclass(frozen=True)
class WalFiles:
    """What a directory of WAL has."""

    segments: int
    first: str
    last: str
    histories: int
    compressed: int


@dataclass(frozen=True)
class Description:
    """A file or directory. Without its passphrase, the content of an encrypted one is unknown."""

    layers: tuple[Layer, ...]
    payload: Payload
    wal: WalFiles | None = None

    @property
    def is_encrypted(self) -> bool:
        """Whether a passphrase is needed."""
        return any(layer.is_encryption for layer in self.layers)
