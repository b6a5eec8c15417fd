# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user said about a cluster and its repository, as plain typed values.

Made from module options, from lifeboat.conf or from the command line; jobs never look back at
where a value came from.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
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
class S3Spec:
    """How to reach a bucket. What is left out is found as AWS's own tools find it; secrets are in files only."""

    endpoint: str | None = None
    region: str | None = None
    path_style: bool | None = None
    ca_file: Path | None = None
    profile: str | None = None
    credentials_file: Path | None = None


S3_SETTINGS = tuple(f"s3_{field.name}" for field in fields(S3Spec))


@dataclass(frozen=True)
class RepositorySpec:
    """Where backups are kept, and the file with the key that opens them."""

    url: str
    key_file: Path
    s3: S3Spec = S3Spec()

    def command_options(self) -> list[str]:
        """The same for the on-host command."""
        settings = {f"s3-{field.name}": getattr(self.s3, field.name) for field in fields(S3Spec)}
        settings.update({"repository": self.url, "key-file": self.key_file})
        given = [(name, str(value)) for name, value in settings.items() if value is not None]
        return [word for name, value in given for word in (f"--{name.replace('_', '-')}", value)]


@dataclass(frozen=True)
class ClusterSpec:
    """One PostgreSQL cluster on this host."""

    name: str
    stanza: str
    connection: ConnectionSpec
    data_directory: Path | None = None
    bin_directory: Path | None = None
