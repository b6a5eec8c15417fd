# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys: from what a person or a host holds to a key of its own for every object.

A recipient holds a key-encryption key, or a passphrase that one is derived from. Each epoch of a
repository has random data, metadata and naming keys, wrapped once per recipient. An object's own
key is derived from its epoch's key, a fresh random salt and the object's identity, so nothing is
ever sealed twice under one key and nonce, and an object that is renamed or swapped does not open.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Protocol

from ..errors import PreconditionError
from ..thirdparty import require

KEY_BYTES = 32
ROLES = ("data", "metadata", "naming")
_CONTEXT = b"lifeboat/1"


def hkdf_sha256(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 for one block of output (32 bytes)."""
    extracted = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


@dataclass(frozen=True)
class Scrypt:
    """How a passphrase becomes a key: RFC 7914's cost parameters, and the salt of one recipient."""

    salt: bytes
    n: int
    r: int
    p: int


class KeyHolder(Protocol):
    """Who wants to open a repository: somebody with a key, or with a passphrase."""

    def describe(self) -> str:
        """What is held, for messages; never the secret."""

    def key_for(self, key_id: str, scrypt: Scrypt | None) -> WrappingKey | None:
        """The key of the recipient with this fingerprint, or None when that is somebody else."""

    def enrol(self) -> tuple[WrappingKey, Scrypt | None]:
        """A key for a new recipient, and how it is derived again where it cannot be kept."""


@dataclass(frozen=True, repr=False)
class WrappingKey:
    """A key-encryption key. It is never printed; `provider` says where it came from."""

    secret: bytes
    provider: str = "file"

    @property
    def key_id(self) -> str:
        """A fingerprint: tells keys apart without revealing them."""
        return hkdf_sha256(self.secret, _CONTEXT, b"key id").hex()[:16]

    def describe(self) -> str:
        """What is held."""
        return f"this key ({self.key_id})"

    def key_for(self, key_id: str, scrypt: Scrypt | None) -> WrappingKey | None:
        """Itself, if the fingerprint is its own."""
        return self if key_id == self.key_id and scrypt is None else None

    def enrol(self) -> tuple[WrappingKey, Scrypt | None]:
        """Itself: a key is kept as it is."""
        return self, None


@dataclass(frozen=True, repr=False)
class EpochKeys:
    """The unwrapped keys of one epoch. Without `data` its holder can list and compare only."""

    epoch: int
    data: bytes | None
    metadata: bytes
    naming: bytes

    def object_key(self, role: str, salt: bytes, identity: str) -> bytes:
        """The key of one object."""
        secret = self.require_data(identity) if role == "data" else self.metadata
        return hkdf_sha256(secret, salt, f"lifeboat/1/object/{identity}".encode())

    def document_seal(self, repository_id: str, revision: int, document: bytes) -> str:
        """What proves that a key document was written by somebody with full access, for this place."""
        name = f"lifeboat/1/key document/{repository_id}/{self.epoch}/{revision}"
        key = hkdf_sha256(self.require_data("the key document"), _CONTEXT, name.encode())
        return hmac.new(key, document, hashlib.sha256).hexdigest()

    @property
    def digest_seed(self) -> int:
        """The secret seed of the digests that recognise unchanged content; the same in every epoch."""
        return int.from_bytes(hkdf_sha256(self.naming, _CONTEXT, b"digests")[:8], "big")

    def content_digest(self, data: bytes | memoryview) -> str:
        """A keyed digest for names: equal content is recognised, but reveals nothing without the key."""
        digest = self.digest_of_content()
        digest.update(data)
        return digest.hexdigest()

    def digest_of_content(self) -> ContentDigest:
        """The same for content that comes in pieces."""
        return ContentDigest(self.naming)

    def require_data(self, identity: str) -> bytes:
        """The data key; who has none is told that it takes one to read or write `identity`."""
        if self.data is None:
            raise PreconditionError(
                f"reading or writing {identity}",
                "this key was given access to metadata only: it lists and compares backups, but neither reads nor"
                " writes what is in them.",
                "Use the key of a recipient with full access.",
                code="key_lacks_data",
            )
        return self.data


class ContentDigest:
    """GMAC, whose hash the processor computes at memory speed, then HMAC over its 16 bytes.

    As the nonce never changes, a bare tag in a name would tell about the hash's key. Two contents of up
    to 1 GiB agree by chance with a probability below 2**-100.
    """

    def __init__(self, naming: bytes) -> None:
        cipher = require("cryptography.hazmat.primitives.ciphers.base").Cipher
        aes = require("cryptography.hazmat.primitives.ciphers.algorithms").AES
        gcm = require("cryptography.hazmat.primitives.ciphers.modes").GCM
        self._naming = naming
        self._mac = cipher(aes(hkdf_sha256(naming, _CONTEXT, b"contents")), gcm(bytes(12))).encryptor()

    def update(self, data: bytes | memoryview) -> None:
        """The next bytes."""
        self._mac.authenticate_additional_data(data)

    def hexdigest(self) -> str:
        """What goes into the name. Nothing can be added afterwards."""
        self._mac.finalize()
        return hmac.new(self._naming, self._mac.tag, hashlib.sha256).hexdigest()[:32]


def new_epoch(epoch: int) -> EpochKeys:
    """Draw the keys of a repository's first epoch.

    A later one has to take over the naming key: by it unchanged content is recognised, and
    archived WAL found under its name.
    """
    return EpochKeys(epoch, *(secrets.token_bytes(KEY_BYTES) for _role in ROLES))
