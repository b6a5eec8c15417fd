# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user said about a cluster and its repository, as plain typed values.

Made from module options, from lifeboat.conf or from the command line; jobs never look back at
where a value came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ConnectionSpec:
    """How to reach the server. What is left out is found in the data directory's postmaster.pid."""

    host: str | None = None
    port: int | None = None
    user: str = "postgres"
    password: str | None = None
    socket_directory: str | None = None
    database: str = "postgres"
    ssl_mode: str = "prefer"
    ca_cert: str | None = None

    def __repr__(self) -> str:
        """Leave the password out wherever this is printed."""
        return f"ConnectionSpec(host={self.host!r}, port={self.port!r}, user={self.user!r})"


@dataclass(frozen=True)
class RepositorySpec:
    """Where backups are kept, and the file with the key that opens them."""

    url: str
    key_file: Path


@dataclass(frozen=True)
class ClusterSpec:
    """One PostgreSQL cluster on this host."""

    name: str
    stanza: str
    connection: ConnectionSpec
    data_directory: Path | None = None
    bin_directory: Path | None = None
