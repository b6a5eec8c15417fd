# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who the server is: the facts jobs decide by, and the proof that its files are the ones we read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ..errors import IntegrityError, PreconditionError, UnsupportedError
from . import control_file, postmaster_pid
from .connection import Connection
from .postmaster_pid import PostmasterPid

OLDEST_MAJOR = 13
NEWEST_MAJOR = 18
BLOCK_BYTES = 8192
# How far the start time of a server may be before and after the one in its postmaster.pid.
_CLOCK_SECONDS, _START_SECONDS = 5.0, 60.0


@dataclass(frozen=True)
class Server:
    """Facts about a running server, read once per job."""

    version_num: int
    data_directory: Path
    system_identifier: int
    in_recovery: bool
    started: datetime
    wal_segment_bytes: int
    data_checksums: bool
    settings: dict[str, str]

    @property
    def major(self) -> int:
        """13, 14, ..."""
        return self.version_num // 10000


_SETTINGS = (
    "data_directory",
    "config_file",
    "hba_file",
    "ident_file",
    "archive_mode",
    "archive_command",
    "archive_library",
    "archive_timeout",
    "wal_level",
    "max_wal_senders",
    "summarize_wal",
    "data_checksums",
    "block_size",
    "wal_block_size",
)


def inspect(connection: Connection, data_directory: Path | None, *, files: bool = True) -> Server:
    """Read the facts and prove that server and directory belong together (I5), unless its files are out of reach."""
    attempted = "asking the server who it is"
    version_num = int(connection.row(attempted, "SELECT current_setting('server_version_num')")[0])
    if not OLDEST_MAJOR <= version_num // 10000 <= NEWEST_MAJOR:
        raise UnsupportedError(
            attempted,
            f"it is PostgreSQL {version_num // 10000}.",
            f"Lifeboat supports PostgreSQL {OLDEST_MAJOR} to {NEWEST_MAJOR}.",
            code="postgres_version_unsupported",
        )
    query = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)"
    settings: dict[str, str] = dict(connection.rows(attempted, query, list(_SETTINGS)))
    if "data_directory" not in settings:
        raise PreconditionError(
            attempted,
            "the role may not see the server's data_directory.",
            "Use a superuser, or have the module pg_backup_role grant what this kind of backup needs.",
            code="role_lacks_privilege",
        )
    identifier, in_recovery, started, segment_bytes = connection.row(
        attempted,
        "SELECT system_identifier, pg_is_in_recovery(), pg_postmaster_start_time(),"
        " (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size') FROM pg_control_system()",
    )
    if settings["block_size"] != str(BLOCK_BYTES):
        raise UnsupportedError(
            attempted,
            f"it was built with block_size {settings['block_size']}.",
            f"Lifeboat supports the standard block size of {BLOCK_BYTES} bytes only.",
            code="block_size_unsupported",
        )
    server = Server(
        version_num=version_num,
        data_directory=data_directory or Path(settings["data_directory"]),
        system_identifier=int(identifier),
        in_recovery=bool(in_recovery),
        started=started,
        wal_segment_bytes=int(segment_bytes),
        data_checksums=settings["data_checksums"] == "on",
        settings=settings,
    )
    if files:
        prove_same_cluster(server, connection)
    return server


def prove_same_cluster(server: Server, connection: Connection) -> None:
    """The server we talk to must be the one whose files we read.

    A virtual address, a pooler or a wrong port can lead to another server; a clone even has the
    same system identifier. Identifier, directory and process together tell.
    """
    directory = server.data_directory
    attempted = f"comparing the server with the data directory {directory}"
    remedy = "Correct the login options or data_directory so that both mean the same server."
    control = control_file.read(directory)
    if control.system_identifier != server.system_identifier:
        raise IntegrityError(
            attempted,
            f"the server has the system identifier {server.system_identifier},"
            f" the directory {control.system_identifier}.",
            remedy,
            code="server_directory_mismatch",
        )
    reported = Path(server.settings["data_directory"])
    if os.path.realpath(reported) != os.path.realpath(directory):
        raise IntegrityError(
            attempted, f"the server's own data directory is {reported}.", remedy, code="server_directory_mismatch"
        )
    running = postmaster_pid.read(directory)
    if running is None or not _is_its_process(running, server, connection):
        raise IntegrityError(
            attempted,
            "the process that runs in the directory is not the server that answered.",
            remedy,
            code="server_directory_mismatch",
        )


def _is_its_process(running: PostmasterPid, server: Server, connection: Connection) -> bool:
    """Whether the server that answers is the process that has written the directory's postmaster.pid.

    What the server itself reads there tells, to whom that is allowed. When it was started tells nearly as much: that
    time is taken once it is ready, which on a busy machine is long after the one in the file.
    """
    attempted = "comparing the server with the process in the data directory"
    query = "SELECT has_function_privilege('pg_catalog.pg_read_binary_file(text)', 'EXECUTE')"
    (may_read,) = connection.row(attempted, query)
    if may_read:
        (content,) = connection.row(attempted, "SELECT pg_read_binary_file('postmaster.pid')")
        said = postmaster_pid.parse(bytes(content).decode("utf-8", "surrogateescape"))
        return said is not None and (said.pid, said.start_time) == (running.pid, running.start_time)
    ready_after = server.started.timestamp() - running.start_time
    return -_CLOCK_SECONDS <= ready_after <= _START_SECONDS
