# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`backup_manifest` in PostgreSQL's own format, so that `pg_verifybackup` can judge a restored directory.

It is written at restore, for what was really restored, and streamed: one line per file, never all
of them in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .data_directory import WAL_DIRECTORY
from .wal_names import Lsn, format_lsn

MANIFEST_FILE = "backup_manifest"

_FIRST_VERSION_WITH_IDENTIFIER = 17


@dataclass(frozen=True)
class ManifestFile:
    """A file as the manifest promises it. Every file has a checksum: without one it would promise nothing.

    `checksum_algorithm` is PostgreSQL's name for it: CRC32C, SHA224, SHA256, SHA384 or SHA512.
    """

    path: str
    size: int
    mtime_ns: int
    checksum_algorithm: str
    checksum_hex: str


@dataclass(frozen=True)
class WalRange:
    """WAL that recovery needs before the backup is consistent."""

    timeline: int
    start_lsn: Lsn
    end_lsn: Lsn


def render(
    version: int, system_identifier: int, files: Iterable[ManifestFile], wal_ranges: Iterable[WalRange]
) -> Iterator[bytes]:
    """The manifest for a server of this major version, piece by piece.

    What PostgreSQL never lists is left out: the manifest itself and everything in `pg_wal`.
    """
    digest = hashlib.sha256()
    for piece in _body(version, system_identifier, files, wal_ranges):
        digest.update(piece)
        yield piece
    yield f'"Manifest-Checksum": "{digest.hexdigest()}"}}\n'.encode("ascii")


def _body(
    version: int, system_identifier: int, files: Iterable[ManifestFile], wal_ranges: Iterable[WalRange]
) -> Iterator[bytes]:
    """Everything that the manifest's own checksum covers."""
    if version >= _FIRST_VERSION_WITH_IDENTIFIER:
        yield b'{ "PostgreSQL-Backup-Manifest-Version": 2,\n'
        yield f'"System-Identifier": {system_identifier},\n'.encode("ascii")
    else:
        yield b'{ "PostgreSQL-Backup-Manifest-Version": 1,\n'
    yield b'"Files": ['
    yield from _separated(_file(file) for file in files if _is_listed(file.path))
    yield b'\n],\n"WAL-Ranges": ['
    yield from _separated(_wal_range(wal_range) for wal_range in wal_ranges)
    yield b"\n],\n"


def _separated(objects: Iterable[bytes]) -> Iterator[bytes]:
    separator = b"\n"
    for text in objects:
        yield separator + text
        separator = b",\n"


def _is_listed(path: str) -> bool:
    return path != MANIFEST_FILE and not path.startswith(f"{WAL_DIRECTORY}/")


def _file(file: ManifestFile) -> bytes:
    modified = time.strftime("%Y-%m-%d %H:%M:%S GMT", time.gmtime(file.mtime_ns // 10**9))
    rest = (
        f'"Size": {file.size}, "Last-Modified": "{modified}",'
        f' "Checksum-Algorithm": "{file.checksum_algorithm}", "Checksum": "{file.checksum_hex}"'
    )
    return b"{ " + _path(file.path) + b", " + rest.encode("ascii") + b" }"


def _path(path: str) -> bytes:
    """A manifest is UTF-8; a name that is not is written as hexadecimal digits."""
    raw = os.fsencode(path)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return f'"Encoded-Path": "{raw.hex()}"'.encode("ascii")
    return b'"Path": ' + json.dumps(text, ensure_ascii=False).encode("utf-8")


def _wal_range(wal_range: WalRange) -> bytes:
    start, end = format_lsn(wal_range.start_lsn), format_lsn(wal_range.end_lsn)
    return f'{{ "Timeline": {wal_range.timeline}, "Start-LSN": "{start}", "End-LSN": "{end}" }}'.encode("ascii")
