# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipients: who can open an epoch's keys.

Each has an entry in the epoch's key document with the epoch's keys, wrapped for its key alone. One
with access to metadata only lacks the data key: it lists and compares backups without reading them.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import IntegrityError, PreconditionError
from ..thirdparty import require
from .keys import ROLES, EpochKeys, KeyHolder, Scrypt, WrappingKey

FULL_ACCESS, METADATA_ACCESS = "full", "metadata"
_WRAPPED = {FULL_ACCESS: ROLES, METADATA_ACCESS: ("metadata", "naming")}
_NONCE_BYTES = 12


@dataclass(frozen=True)
class Recipient:
    """One entry of a key document. `wrapped` maps a role to the nonce and the sealed key."""

    label: str
    key_id: str
    provider: str
    wrapped: Mapping[str, bytes]
    scrypt: Scrypt | None = None

    @property
    def access(self) -> str:
        """What the recipient may do."""
        return FULL_ACCESS if "data" in self.wrapped else METADATA_ACCESS

    def as_dict(self) -> dict[str, Any]:
        """The entry as JSON has it."""
        entry: dict[str, Any] = {
            "label": self.label,
            "key_id": self.key_id,
            "provider": self.provider,
            "wrapped": {role: _text(sealed) for role, sealed in self.wrapped.items()},
        }
        if self.scrypt is not None:
            entry["scrypt"] = {**vars(self.scrypt), "salt": _text(self.scrypt.salt)}
        return entry

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Recipient:
        """Read an entry; a ValueError, KeyError or TypeError says that it is none."""
        scrypt = entry.get("scrypt")
        return cls(
            label=str(entry["label"]),
            key_id=str(entry["key_id"]),
            provider=str(entry["provider"]),
            wrapped={role: _bytes(text) for role, text in entry["wrapped"].items()},
            scrypt=Scrypt(_bytes(scrypt["salt"]), *(int(scrypt[name]) for name in ("n", "r", "p"))) if scrypt else None,
        )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _context(repository_id: str, epoch: int, role: str) -> bytes:
    return f"lifeboat/1/wrap/{repository_id}/{epoch}/{role}".encode()


def wrap(keys: EpochKeys, holder: KeyHolder, repository_id: str, *, label: str, access: str = FULL_ACCESS) -> Recipient:
    """A new recipient's entry."""
    wrapping, scrypt = holder.enrol()
    aead = require("cryptography.hazmat.primitives.ciphers.aead").AESGCM(wrapping.secret)
    wrapped = {}
    for role in _WRAPPED[access]:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        wrapped[role] = nonce + aead.encrypt(nonce, getattr(keys, role), _context(repository_id, keys.epoch, role))
    return Recipient(label, wrapping.key_id, wrapping.provider, wrapped, scrypt)


def matching(recipients: Iterable[Recipient], holder: KeyHolder) -> tuple[Recipient, WrappingKey] | None:
    """The holder's entry and the key that opens it."""
    for recipient in recipients:
        key = holder.key_for(recipient.key_id, recipient.scrypt)
        if key is not None:
            return recipient, key
    return None


def unwrap(
    recipients: Iterable[Recipient], holder: KeyHolder, repository_id: str, epoch: int, url: str
) -> tuple[Recipient, EpochKeys]:
    """The holder's entry and the epoch's keys as far as it has them."""
    attempted = f"opening the keys of the repository {url}"
    known = list(recipients)
    found = matching(known, holder)
    if found is None:
        names = ", ".join(f"{recipient.label} {recipient.key_id}" for recipient in known)
        raise PreconditionError(
            attempted,
            f"{holder.describe()} is none of its recipients ({names}).",
            "Use the key or passphrase that belongs to this repository.",
            code="key_wrong",
        )
    recipient, wrapping = found
    invalid_tag = require("cryptography.exceptions").InvalidTag
    aead = require("cryptography.hazmat.primitives.ciphers.aead").AESGCM(wrapping.secret)
    opened: dict[str, bytes] = {}
    for role in _WRAPPED[recipient.access]:
        sealed = recipient.wrapped.get(role, b"")
        try:
            opened[role] = aead.decrypt(
                sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _context(repository_id, epoch, role)
            )
        except (invalid_tag, ValueError) as exc:
            raise IntegrityError(
                attempted,
                f"the wrapped {role} key of epoch {epoch} is damaged or belongs to another repository.",
                "Restore the objects below keys/ from another copy of the repository.",
                code="keys_damaged",
            ) from exc
    return recipient, EpochKeys(epoch, opened.get("data"), opened["metadata"], opened["naming"])
