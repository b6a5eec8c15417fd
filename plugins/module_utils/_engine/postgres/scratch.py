# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings for a scratch server: one that proves a backup beside production and can never touch it.

It listens on nothing but a socket in a directory of its own, archives nothing, replicates to and
from nobody, runs no jobs of its own, and loads no library but those it was told to: without a
table access method's or a custom WAL resource manager's library nothing could be replayed.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import durable
from ..errors import PreconditionError
from .instance import FOLLOWED

# The name of a socket file; no TCP port is opened.
PORT = 5432
_PREFIX = "lifeboat-scratch-"
_LOCK = "lock"
_HBA = "local all all trust\n"


@dataclass(frozen=True)
class ScratchPlace:
    """The directories of one scratch server; all are removed together."""

    root: Path
    socket_directory: Path

    @property
    def data_directory(self) -> Path:
        """Where the backup is restored."""
        return self.root / "data"

    @property
    def tablespaces(self) -> Path:
        """Where its tablespaces are restored, never their original places."""
        return self.root / "tablespaces"

    @property
    def replayed_tablespaces(self) -> Path:
        """Where tablespaces go that are made while WAL is replayed."""
        return self.root / "replayed-tablespaces"

    def settings(self, preload_libraries: Sequence[str] = ()) -> dict[str, str]:
        """For the start of the server; they win over every configuration file."""
        return {
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": str(self.socket_directory),
            "unix_socket_permissions": "0700",
            "hba_file": str(self.root / "pg_hba.conf"),
            "external_pid_file": "",
            "ssl": "off",
            "archive_mode": "off",
            # commands of production's, which might tidy up its archive
            "archive_cleanup_command": "",
            "recovery_end_command": "",
            "primary_conninfo": "",
            "primary_slot_name": "",
            "synchronous_standby_names": "",
            "max_logical_replication_workers": "0",
            "shared_preload_libraries": ",".join(preload_libraries),
            "session_preload_libraries": "",
            "local_preload_libraries": "",
            "autovacuum": "off",
            **FOLLOWED,
            # production's share of the machine's memory is production's
            "shared_buffers": "128MB",
            "huge_pages": "off",
            # nobody looks while it replays, so that the sizes in production's control file bind nothing here
            "hot_standby": "off",
        }


def _remove_abandoned(parent: Path) -> None:
    """What a killed run has left: its lock is free. Others' directories are not ours to look into."""
    for root in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (root / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(root, ignore_errors=True)


@contextlib.contextmanager
def scratch_place(parent: Path) -> Iterator[ScratchPlace]:
    """Directories for a scratch server, gone when the block ends, whatever happened in it."""
    _remove_abandoned(parent)
    try:
        root = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        lock = (root / _LOCK).open("wb")
    except OSError as exc:
        raise PreconditionError(
            f"making a scratch directory in {parent}",
            f"{exc.strerror}.",
            "Give a scratch_directory that the data directory's owner may write to, with room for the backup.",
            code="scratch_directory_not_writable",
        ) from exc
    # A socket's path may have only 107 bytes, so it does not go below `parent`.
    sockets = Path(tempfile.mkdtemp(prefix="lifeboat-"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        durable.write_file(root / "pg_hba.conf", _HBA.encode(), 0o600)
        yield ScratchPlace(root, sockets)
    finally:
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(sockets, ignore_errors=True)
        lock.close()
