# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys: who can open a repository, and how each object gets a key of its own.

A key file holds a key-encryption key. Each epoch of a repository has random data, metadata and
naming keys, wrapped once per recipient. An object's own key is derived from its epoch's key, a
fresh random salt and the object's identity, so nothing is ever sealed twice under one key and
nonce, and an object that is renamed or swapped does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import durable
from ..errors import IntegrityError, PreconditionError
from ..thirdparty import require

KEY_BYTES = 32
_KEY_FILE_PREFIX = "lifeboat-key-1:"
_NONCE_BYTES = 12
ROLES = ("data", "metadata", "naming")


def hkdf_sha256(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 for one block of output (32 bytes)."""
    extracted = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


@dataclass(frozen=True, repr=False)
class WrappingKey:
    """A key-encryption key and its public fingerprint. Never printed."""

    secret: bytes

    @property
    def key_id(self) -> str:
        """Tells keys apart without revealing them."""
        return hkdf_sha256(self.secret, b"lifeboat/1", b"key id").hex()[:16]


def generate_key_file(path: Path) -> WrappingKey:
    """Write a new random key, readable by its owner only. A key that exists is never overwritten."""
    key = WrappingKey(secrets.token_bytes(KEY_BYTES))
    text = _KEY_FILE_PREFIX + base64.urlsafe_b64encode(key.secret).decode("ascii") + "\n"
    try:
        durable.write_file(path, text.encode("ascii"), 0o400, replace=False)
    except FileExistsError as exc:
        raise PreconditionError(
            f"writing the key file {path}",
            "there is one already.",
            "Use it, or move it away; a repository that was made with it can be read with nothing else.",
            code="key_file_exists",
        ) from exc
    except OSError as exc:
        raise PreconditionError(
            f"writing the key file {path}",
            f"{exc.strerror}.",
            "Create its directory, writable by the user that owns the data directory.",
            code="key_file_not_writable",
        ) from exc
    return key


def read_key_file(path: Path) -> WrappingKey:
    """Read a key file; refuse one that other users can read."""
    attempted = f"reading the key file {path}"
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            text = stream.read(1024)
    except FileNotFoundError as exc:
        raise PreconditionError(
            attempted,
            "it does not exist.",
            "Bring it back from where the recovery key is kept; without it the backups cannot be read.",
            code="key_file_missing",
        ) from exc
    except OSError as exc:
        raise PreconditionError(
            attempted,
            f"{exc.strerror}.",
            "Let the user that owns the data directory read it (owner and mode 0400).",
            code="key_file_not_readable",
        ) from exc
    if mode & (stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP):
        raise PreconditionError(
            attempted,
            f"its mode {stat.S_IMODE(mode):04o} lets other users read or change it.",
            f"Run: chmod 0400 {path}; if other users may have read it, make a new repository with a new key.",
            code="key_file_permissions",
        )
    try:
        if not text.startswith(_KEY_FILE_PREFIX.encode("ascii")):
            raise ValueError("prefix")
        secret = base64.urlsafe_b64decode(text[len(_KEY_FILE_PREFIX) :].strip())
        if len(secret) != KEY_BYTES:
            raise ValueError("length")
    except (ValueError, binascii.Error) as exc:
        raise PreconditionError(
            attempted,
            f"it is not a Lifeboat key (one line, {_KEY_FILE_PREFIX}<44 characters>).",
            "Restore the file from where the recovery key is kept.",
            code="key_file_invalid",
        ) from exc
    return WrappingKey(secret)


@dataclass(frozen=True, repr=False)
class EpochKeys:
    """The unwrapped keys of one epoch."""

    epoch: int
    data: bytes
    metadata: bytes
    naming: bytes

    def object_key(self, role: str, salt: bytes, identity: str) -> bytes:
        """The key of one object."""
        secret = self.data if role == "data" else self.metadata
        return hkdf_sha256(secret, salt, f"lifeboat/1/object/{identity}".encode())

    @property
    def digest_seed(self) -> int:
        """The secret seed of the digests that recognise unchanged content; the same in every epoch."""
        return int.from_bytes(hkdf_sha256(self.naming, b"lifeboat/1", b"digests")[:8], "big")

    def content_digest(self, data: bytes) -> str:
        """A keyed digest for names: equal content is recognised, but reveals nothing without the key."""
        return hmac.new(self.naming, data, hashlib.sha256).hexdigest()[:32]


def new_epoch(epoch: int) -> EpochKeys:
    """Draw the keys of a new epoch."""
    return EpochKeys(epoch, *(secrets.token_bytes(KEY_BYTES) for _role in ROLES))


def _wrap_context(repository_id: str, epoch: int, role: str) -> bytes:
    return f"lifeboat/1/wrap/{repository_id}/{epoch}/{role}".encode()


def wrap(keys: EpochKeys, wrapping: WrappingKey, repository_id: str) -> dict[str, Any]:
    """One recipient's entry in the epoch's key document."""
    aead = require("cryptography.hazmat.primitives.ciphers.aead").AESGCM(wrapping.secret)
    wrapped = {}
    for role in ROLES:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = aead.encrypt(nonce, getattr(keys, role), _wrap_context(repository_id, keys.epoch, role))
        wrapped[role] = base64.b64encode(nonce + sealed).decode("ascii")
    return {"key_id": wrapping.key_id, "provider": "file", "wrapped": wrapped}


def unwrap(document: dict[str, Any], wrapping: WrappingKey, repository_id: str, url: str) -> EpochKeys:
    """Open an epoch's key document with one recipient's key."""
    attempted = f"opening the keys of the repository {url}"
    for recipient in document["recipients"]:
        if recipient["key_id"] == wrapping.key_id:
            break
    else:
        known = ", ".join(recipient["key_id"] for recipient in document["recipients"])
        raise PreconditionError(
            attempted,
            f"this key ({wrapping.key_id}) is none of its recipients ({known}).",
            "Use the key file that belongs to this repository.",
            code="key_wrong",
        )
    aesgcm = require("cryptography.hazmat.primitives.ciphers.aead").AESGCM
    invalid_tag = require("cryptography.exceptions").InvalidTag
    aead = aesgcm(wrapping.secret)
    opened = []
    for role in ROLES:
        context = _wrap_context(repository_id, document["epoch"], role)
        try:
            sealed = base64.b64decode(recipient["wrapped"][role])
            opened.append(aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context))
        except (invalid_tag, ValueError) as exc:
            raise IntegrityError(
                attempted,
                f"the wrapped {role} key of epoch {document['epoch']} is damaged or belongs to another repository.",
                "Restore the objects below keys/ from another copy of the repository.",
                code="keys_damaged",
            ) from exc
    return EpochKeys(document["epoch"], *opened)
