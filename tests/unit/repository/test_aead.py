# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Views of larger buffers are sealed and opened also where `cryptography` takes nothing but bytes, as in Debian 12."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.aead import aes_gcm
from cryptography.hazmat.primitives.ciphers import aead

KEY, NONCE = bytes(32), bytes(12)


class OfDebian12:
    """Release 38's check of what it is given."""

    def __init__(self, key: bytes) -> None:
        self._aead = NEW(key)

    def encrypt(self, nonce: bytes, data: Any, associated: bytes) -> bytes:
        return self._aead.encrypt(nonce, required(data), associated)

    def decrypt(self, nonce: bytes, data: Any, associated: bytes) -> bytes:
        return self._aead.decrypt(nonce, required(data), associated)


NEW = aead.AESGCM


def required(data: Any) -> bytes:
    if not isinstance(data, bytes):
        raise TypeError("data must be bytes")
    return data


@pytest.mark.parametrize("release", [NEW, OfDebian12], ids=["new", "of Debian 12"])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_sealed_and_opened(release: Any, kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aead, "AESGCM", release)
    sealed = aes_gcm(KEY).encrypt(NONCE, kind(b"something"), b"name")
    assert aes_gcm(KEY).decrypt(NONCE, kind(sealed), b"name") == b"something"
