# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user said about a cluster and its repository, as plain typed values.

Made from module options, from lifeboat.conf or from the command line; jobs never look back at
where a value came from.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from .errors import PreconditionError
from .receive_settings import ReceiveSpec
from .status_thresholds import Thresholds


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
    notes: tuple[str, ...] = ()  # what of a database_url was not used, for the user

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


S3_SETTINGS = tuple(f"s3_{each.name}" for each in fields(S3Spec))


@dataclass(frozen=True)
class KeySpec:
    """Where the secret is that opens a repository: exactly one place. A passphrase itself is in no file and no text."""

    key_file: Path | None = None
    key_command: str | None = None
    passphrase_file: Path | None = None
    passphrase: str | None = field(default=None, repr=False)

    def require_one(self, attempted: str) -> None:
        """Refuse none, and more than one: it would be anybody's guess which one is meant."""
        given = [name for name in KEY_SETTINGS if getattr(self, name) is not None]
        if not given:
            raise PreconditionError(
                attempted,
                f"nothing is given that opens it: no {', no '.join(KEY_SETTINGS)}.",
                "Set key_file, or another of them, or name a cluster of lifeboat.conf.",
                code="setting_missing",
                setting="key_file",
            )
        if len(given) > 1:
            raise PreconditionError(
                attempted,
                f"{' and '.join(given)} are given.",
                "Give one of them: whether they agree cannot be known.",
                code="key_ambiguous",
            )


KEY_SETTINGS = tuple(each.name for each in fields(KeySpec))


@dataclass(frozen=True)
class RepositorySpec:
    """Where backups are kept, and what opens them."""

    url: str
    key: KeySpec
    s3: S3Spec = S3Spec()

    def command_options(self) -> list[str]:
        """The same for the on-host command, whose command line others can see."""
        if self.key.passphrase is not None:
            raise PreconditionError(
                f"telling the command lifeboat how to open the repository {self.url}",
                "PostgreSQL runs it for every WAL file, and a passphrase must be in no command line.",
                "Give it in a file that only the data directory's owner can read (passphrase_file), or use a key file.",
                code="passphrase_not_in_a_file",
            )
        settings = {f"s3-{each.name}": getattr(self.s3, each.name) for each in fields(S3Spec)}
        settings.update({name: getattr(self.key, name) for name in KEY_SETTINGS})
        settings["repository"] = self.url
        given = [(name, str(value)) for name, value in settings.items() if value is not None]
        return [word for name, value in given for word in (f"--{name.replace('_', '-')}", value)]


METHODS = ("files", "stream")


@dataclass(frozen=True)
class ClusterSpec:
    """One PostgreSQL cluster: on this host, or with the method `stream` wherever its server can be reached."""

    name: str
    stanza: str
    connection: ConnectionSpec
    data_directory: Path | None = None
    bin_directory: Path | None = None
    method: str = "files"  # how a backup gets at the cluster's files: in the data directory, or by protocol
    receive: ReceiveSpec = ReceiveSpec()
    thresholds: Thresholds = Thresholds()  # what its status is judged by


@dataclass(frozen=True)
class WalCopy:
    """A repository that gets a cluster's WAL; `name` is its section's in lifeboat.conf."""

    name: str
    repository: RepositorySpec


@dataclass(frozen=True)
class DropPolicy:
    """When to give WAL up instead of letting the server's disk run full: `text` is how the user put it."""

    text: str
    limit_bytes: int | None = None
    limit_files: int | None = None

    def excess(self, files: int, segment_bytes: int) -> int:
        """How many of the waiting files are too many."""
        limit = self.limit_files if self.limit_bytes is None else self.limit_bytes // segment_bytes
        return max(0, files - (limit or 0))


@dataclass(frozen=True)
class ArchiveSpec:
    """Where a cluster's WAL goes. It counts as archived when every required copy has it."""

    required: tuple[WalCopy, ...]
    optional: tuple[WalCopy, ...] = ()
    drop_after: DropPolicy | None = None

    @property
    def copies(self) -> tuple[WalCopy, ...]:
        """All of them."""
        return self.required + self.optional
