# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file checksums of PostgreSQL's `backup_manifest`, as fast as this machine can.

`pg_verifybackup` knows CRC-32C and the SHA-2 family, and Python has no fast CRC-32C of its own. The
library of the ext file systems has one, and it is on every Debian, Ubuntu and Red Hat system; it is
about four times as fast as SHA-256 on a processor without instructions for that. Where it is
missing SHA-256 does the same work, only slower.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from functools import cache
from typing import Protocol, Union

Buffer = Union[bytes, bytearray]

_LIBRARY, _FUNCTION = "libext2fs.so.2", "ext2fs_crc32c_le"
_PROBE, _PROBE_RESULT = b"123456789", 0xE3069283
_ONES = 0xFFFFFFFF


class FileChecksum(Protocol):
    """Checksums one file's bytes in order."""

    algorithm: str

    def update(self, data: Buffer) -> None:
        """Take the next bytes."""

    def hexdigest(self) -> str:
        """What the manifest says."""


@cache
def _crc32c() -> Callable[[int, Buffer], int] | None:
    """The library's function, if it is there and computes what it should."""
    try:
        function = getattr(ctypes.CDLL(_LIBRARY), _FUNCTION)  # CDLL: other threads go on meanwhile
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_uint32
    function.argtypes = (ctypes.c_uint32, ctypes.c_char_p, ctypes.c_size_t)

    def crc32c(state: int, data: Buffer) -> int:
        result: int = function(state, bytes(data) if isinstance(data, bytearray) else data, len(data))
        return result

    return crc32c if crc32c(_ONES, _PROBE) ^ _ONES == _PROBE_RESULT else None


class _Crc32c:
    algorithm = "CRC32C"

    def __init__(self, function: Callable[[int, Buffer], int]) -> None:
        self._function = function
        self._state = _ONES

    def update(self, data: Buffer) -> None:
        self._state = self._function(self._state, data)

    def hexdigest(self) -> str:
        # PostgreSQL writes the four bytes as they lie in memory: the lowest first
        return (self._state ^ _ONES).to_bytes(4, "little").hex()


class _Sha256:
    algorithm = "SHA256"

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def update(self, data: Buffer) -> None:
        self._digest.update(data)

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def file_checksum() -> FileChecksum:
    """A checksum for one file."""
    function = _crc32c()
    return _Crc32c(function) if function else _Sha256()
