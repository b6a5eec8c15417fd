# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AES-GCM as the operating systems have it: older releases of `cryptography` (Debian 12's) take nothing but bytes.

What we seal and open are views of larger buffers. They are copied only where they must be.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ..thirdparty import require
from .compression import Buffer


class _OfBytes:
    """AES-GCM that is given bytes, whatever it is asked with."""

    def __init__(self, aead: Any) -> None:
        self._aead = aead

    def encrypt(self, nonce: bytes, data: Buffer, associated: bytes) -> bytes:
        """The ciphertext and its tag."""
        sealed: bytes = self._aead.encrypt(nonce, bytes(data), associated)
        return sealed

    def decrypt(self, nonce: bytes, data: Buffer, associated: bytes) -> bytes:
        """What was encrypted."""
        opened: bytes = self._aead.decrypt(nonce, bytes(data), associated)
        return opened


def aes_gcm(key: bytes) -> Any:
    """What encrypts and decrypts any buffer with this key."""
    aesgcm = require("cryptography.hazmat.primitives.ciphers.aead").AESGCM
    return aesgcm(key) if _takes_views(aesgcm) else _OfBytes(aesgcm(key))


@lru_cache(maxsize=1)
def _takes_views(aesgcm: Any) -> bool:
    try:
        aesgcm(bytes(16)).encrypt(bytes(12), memoryview(b"x"), b"")
    except TypeError:
        return False
    return True
