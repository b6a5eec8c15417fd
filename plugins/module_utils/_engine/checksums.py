# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file checksums of PostgreSQL's `backup_manifest`, as fast as this machine can.

`pg_verifybackup` knows CRC-32C and the SHA-2 family. Processors have an instruction for CRC-32C, and
Python's package crc32c and the library ISA-L use it: then a checksum costs next to nothing. The
library of the ext file systems computes it without, about as fast as SHA-256 with instructions of its
own, and is on every Debian, Ubuntu and Red Hat system. Where even that is missing SHA-256 does the
same work.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
from collections.abc import Callable
from functools import cache
from typing import Protocol, Union

Buffer = Union[bytes, bytearray, memoryview]

_PROBE, _PROBE_RESULT = b"123456789", 0xE3069283
_ONES = 0xFFFFFFFF
# The raw register after some bytes, from that before them: no inversion at either end.
_Step = Callable[[int, Buffer], int]


class FileChecksum(Protocol):
    """Checksums one file's bytes in order."""

    algorithm: str

    def update(self, data: Buffer) -> None:
        """Take the next bytes."""

    def hexdigest(self) -> str:
        """What the manifest says."""


def _from_package() -> _Step | None:
    """The Python package, where it was built to use the instruction: Debian's was not."""
    try:
        crc32c = importlib.import_module("crc32c")
    except ImportError:
        return None
    if not getattr(crc32c, "hardware_based", False):
        return None

    def step(state: int, data: Buffer) -> int:
        result: int = crc32c.crc32c(data, state ^ _ONES) ^ _ONES
        return result

    return step


def _from_isal() -> _Step | None:
    """Intel's storage library, which knows the instructions of other processors too."""
    try:
        function = ctypes.CDLL("libisal.so.2").crc32_iscsi  # CDLL: other threads go on meanwhile
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_uint32
    function.argtypes = (ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32)

    def step(state: int, data: Buffer) -> int:
        result: int = function(_as_bytes(data), len(data), state)
        return result

    return step


def _from_ext2fs() -> _Step | None:
    """The library of the ext file systems."""
    try:
        function = ctypes.CDLL("libext2fs.so.2").ext2fs_crc32c_le
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_uint32
    function.argtypes = (ctypes.c_uint32, ctypes.c_char_p, ctypes.c_size_t)

    def step(state: int, data: Buffer) -> int:
        result: int = function(state, _as_bytes(data), len(data))
        return result

    return step


def _as_bytes(data: Buffer) -> bytes:
    return data if isinstance(data, bytes) else bytes(data)


def _right(step: _Step | None) -> bool:
    """Whether a function is there and computes what it should."""
    return step is not None and step(_ONES, _PROBE) ^ _ONES == _PROBE_RESULT


@cache
def _crc32c() -> _Step | None:
    """The fastest function there is."""
    for source in (_from_package, _from_isal, _from_ext2fs):
        step = source()
        if _right(step):
            return step
    return None


def crc32c(data: Buffer) -> int | None:
    """The checksum of some bytes, None where nothing computes it fast."""
    step = _crc32c()
    return step(_ONES, data) ^ _ONES if step else None


class _Crc32c:
    algorithm = "CRC32C"

    def __init__(self, step: _Step) -> None:
        self._step = step
        self._state = _ONES

    def update(self, data: Buffer) -> None:
        self._state = self._step(self._state, data)

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
    step = _crc32c()
    return _Crc32c(step) if step else _Sha256()
