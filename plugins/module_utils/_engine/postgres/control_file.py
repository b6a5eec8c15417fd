# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`global/pg_control`: the few hundred bytes that say what a cluster is and where it stands.

The layout belongs to a `pg_control` version. Those of PostgreSQL 13 to 18 agree in every field
read here and differ behind them, in where the checksum is. What is returned has passed that
checksum.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path

from ..errors import IntegrityError, PreconditionError, UnsupportedError
from .pages import PAGE_BYTES, PAGES_PER_SEGMENT
from .wal_names import Lsn

CONTROL_FILE = "global/pg_control"
VERSION_FILE = "PG_VERSION"
SUPPORTED_VERSIONS = range(13, 19)

# pg_control version -> where its CRC-32C is, which covers everything before it
_CRC_OFFSETS = {
    1300: 288,  # PostgreSQL 13 to 16
    1700: 288,
    1800: 292,
}
_UINT32 = struct.Struct("<I")
_CONTROL_VERSION_OFFSET = 8
# name in ControlFile -> (offset, format)
_FIELDS = {
    "system_identifier": (0, "<Q"),
    "catalog_version": (12, "<I"),
    "state": (16, "<I"),
    "checkpoint_lsn": (32, "<Q"),
    "redo_lsn": (40, "<Q"),
    "timeline": (48, "<I"),
    "prev_timeline": (52, "<I"),
    "next_xid": (64, "<Q"),
    "checkpoint_time": (104, "<q"),
    "min_recovery_end_lsn": (136, "<Q"),
    "min_recovery_end_timeline": (144, "<I"),
    "wal_level": (172, "<I"),
    "max_connections": (180, "<I"),
    "max_worker_processes": (184, "<I"),
    "max_wal_senders": (188, "<I"),
    "max_prepared_transactions": (192, "<I"),
    "max_locks_per_transaction": (196, "<I"),
    "track_commit_timestamp": (200, "<?"),
    "block_size": (216, "<I"),
    "pages_per_segment": (220, "<I"),
    "wal_segment_size": (228, "<I"),
    "data_checksum_version": (252, "<I"),
}
_RETRY_SECONDS = 0.01


class ClusterState(Enum):
    """What the server was doing when it last wrote the file, in `pg_controldata`'s words."""

    STARTING_UP = "starting up"
    SHUT_DOWN = "shut down"
    SHUT_DOWN_IN_RECOVERY = "shut down in recovery"
    SHUTTING_DOWN = "shutting down"
    IN_CRASH_RECOVERY = "in crash recovery"
    IN_ARCHIVE_RECOVERY = "in archive recovery"
    IN_PRODUCTION = "in production"


_STATES = tuple(ClusterState)
_WAL_LEVELS = ("minimal", "replica", "logical")


@dataclass(frozen=True)
class ControlFile:
    """What the engine needs from `pg_control`. Times are in UTC."""

    system_identifier: int
    catalog_version: int
    state: ClusterState
    checkpoint_lsn: Lsn
    redo_lsn: Lsn
    timeline: int
    prev_timeline: int
    next_xid: int
    checkpoint_time: datetime
    min_recovery_end_lsn: Lsn
    min_recovery_end_timeline: int
    wal_level: str
    max_connections: int
    max_worker_processes: int
    max_wal_senders: int
    max_prepared_transactions: int
    max_locks_per_transaction: int
    track_commit_timestamp: bool
    block_size: int
    pages_per_segment: int
    wal_segment_size: int
    data_checksum_version: int

    @property
    def data_checksums(self) -> bool:
        """Whether the pages of relations carry checksums."""
        return self.data_checksum_version != 0


def parse(data: bytes, name: str = CONTROL_FILE) -> ControlFile:
    """Read a control file's bytes; damaged ones are never interpreted. `name` is for messages."""
    attempted = f"reading {name}"
    crc_offset = _crc_offset(data, attempted)
    stored = data[crc_offset : crc_offset + _UINT32.size]
    if stored != _UINT32.pack(_crc32c(data[:crc_offset])):
        raise _damaged(attempted, "its checksum does not match its content.")
    fields = {field: struct.unpack_from(code, data, offset)[0] for field, (offset, code) in _FIELDS.items()}
    if (fields["block_size"], fields["pages_per_segment"]) != (PAGE_BYTES, PAGES_PER_SEGMENT):
        raise UnsupportedError(
            attempted,
            f"the server was built with pages of {fields['block_size']} bytes, {fields['pages_per_segment']} a file.",
            f"Lifeboat supports PostgreSQL's standard build only: {PAGE_BYTES} bytes, {PAGES_PER_SEGMENT} pages.",
            code="block_size_unsupported",
        )
    fields["state"] = _STATES[fields["state"]]
    fields["wal_level"] = _WAL_LEVELS[fields["wal_level"]]
    fields["checkpoint_time"] = datetime.fromtimestamp(fields["checkpoint_time"], timezone.utc)
    return ControlFile(**fields)


def read_bytes(data_directory: Path, attempts: int = 10, pause: Callable[[float], None] = time.sleep) -> bytes:
    """The control file's bytes, whole: what a backup stores.

    The server writes the file in place without a lock that we could take, so a read can catch it
    half written; then it is read again, after a pause.
    """
    path = data_directory / CONTROL_FILE
    while True:
        data = _content(path)
        try:
            parse(data, str(path))
        except IntegrityError:
            attempts -= 1
            if attempts <= 0:
                raise
            pause(_RETRY_SECONDS)
        else:
            return data


def read(data_directory: Path, attempts: int = 10, pause: Callable[[float], None] = time.sleep) -> ControlFile:
    """A data directory's control file; see `read_bytes`."""
    return parse(read_bytes(data_directory, attempts, pause))


def version(data_directory: Path) -> int:
    """The major version of the server that a data directory belongs to."""
    path = data_directory / VERSION_FILE
    text = _content(path).decode("ascii", "replace").strip()
    if not text.isdigit() or int(text) not in SUPPORTED_VERSIONS:
        raise UnsupportedError(
            f"reading {path}",
            f"it names the version {text!r}.",
            f"Lifeboat supports {_supported()}.",
            code="postgres_version_unsupported",
        )
    return int(text)


def unreadable(path: Path | str, cause: OSError) -> PreconditionError:
    """The error for something in a data directory that is there and cannot be read."""
    return PreconditionError(
        f"reading {path}",
        f"it cannot be read ({cause.strerror}).",
        "Run as root or as the owner of the data directory.",
        code="data_directory_unreadable",
    )


def _crc_offset(data: bytes, attempted: str) -> int:
    if len(data) < min(_CRC_OFFSETS.values()):
        raise _damaged(attempted, f"it has only {len(data)} bytes.")
    (control_version,) = _UINT32.unpack_from(data, _CONTROL_VERSION_OFFSET)
    if control_version not in _CRC_OFFSETS:
        raise UnsupportedError(
            attempted,
            f"its format {control_version} is not one of {', '.join(map(str, _CRC_OFFSETS))}.",
            f"Lifeboat supports {_supported()} on little-endian machines; a newer Lifeboat may support more.",
            code="postgres_version_unsupported",
        )
    return _CRC_OFFSETS[control_version]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise PreconditionError(
            f"reading {path}",
            "it does not exist.",
            "Give the data directory of a PostgreSQL server, the one that SHOW data_directory tells.",
            code="not_a_data_directory",
        ) from exc
    except OSError as exc:
        raise unreadable(path, exc) from exc


def _damaged(attempted: str, happened: str) -> IntegrityError:
    return IntegrityError(
        attempted,
        happened,
        "If a running server's file stays so, check its disk; a backup's file must come from another copy.",
        code="control_file_damaged",
    )


def _supported() -> str:
    return f"PostgreSQL {SUPPORTED_VERSIONS[0]} to {SUPPORTED_VERSIONS[-1]}"


def _crc32c_table() -> tuple[int, ...]:
    """For each byte, eight steps of division by Castagnoli's polynomial, bits reversed."""
    table = []
    for value in range(256):
        for _number in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC32C_TABLE = _crc32c_table()


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF
