# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passphrases: what people remember, made into keys that are costly to guess.

Deriving a key takes a third of a second and 64 MiB on purpose. That suits a person who restores,
not a server that archives a file every few seconds: hosts use key files or commands.
"""

from __future__ import annotations

import hashlib
import secrets
import unicodedata
from pathlib import Path

from ..errors import IntegrityError, PreconditionError, UnsupportedError
from .key_files import read_private_file
from .keys import KEY_BYTES, Scrypt, WrappingKey

SHORTEST = 12
_SALT_BYTES = 16
_COST = {"n": 1 << 16, "r": 8, "p": 1}
# A key document from elsewhere must not make a reader take more memory and time than this.
_MOST_MEMORY = 128 << 20
_MOST_PASSES = 16


class Passphrase:
    """A holder who knows a passphrase. Keys that were derived once are kept for its lifetime."""

    def __init__(self, text: str) -> None:
        # The same letters may be typed as different bytes on different keyboards and systems.
        self._secret = unicodedata.normalize("NFC", text).encode()
        self._derived: dict[Scrypt, WrappingKey] = {}

    def describe(self) -> str:
        """What is held."""
        return "this passphrase"

    def key_for(self, key_id: str, scrypt: Scrypt | None) -> WrappingKey | None:
        """The key of a recipient with this very passphrase; None for any other."""
        if scrypt is None:
            return None
        key = self._derive(scrypt)
        return key if key.key_id == key_id else None

    def enrol(self) -> tuple[WrappingKey, Scrypt | None]:
        """A key of its own, by a new salt. A passphrase that could be guessed is refused."""
        if len(self._secret.decode()) < SHORTEST:
            raise PreconditionError(
                "adding a passphrase to the repository",
                f"it has fewer than {SHORTEST} characters: whoever gets hold of the repository could guess it.",
                "Choose a longer one, such as six random words.",
                code="passphrase_too_short",
            )
        scrypt = Scrypt(secrets.token_bytes(_SALT_BYTES), **_COST)
        return self._derive(scrypt), scrypt

    def _derive(self, scrypt: Scrypt) -> WrappingKey:
        if scrypt not in self._derived:
            self._derived[scrypt] = WrappingKey(_scrypt(self._secret, scrypt), "passphrase")
        return self._derived[scrypt]


def _scrypt(secret: bytes, cost: Scrypt) -> bytes:
    attempted = "deriving a key from the passphrase"
    memory = 128 * cost.r * cost.n
    if memory > _MOST_MEMORY or cost.p > _MOST_PASSES:
        raise IntegrityError(
            attempted,
            f"the key document asks for {memory >> 20} MiB in {cost.p} passes, which Lifeboat never does.",
            "Restore the objects below keys/ from another copy of the repository.",
            code="keys_damaged",
        )
    try:
        return hashlib.scrypt(
            secret, salt=cost.salt, n=cost.n, r=cost.r, p=cost.p, maxmem=2 * _MOST_MEMORY, dklen=KEY_BYTES
        )
    except (AttributeError, ValueError) as exc:  # a Python or an OpenSSL that was built or set not to have it
        raise UnsupportedError(
            attempted,
            f"this system's OpenSSL does not offer scrypt ({exc}).",
            "Use a key file or a command on this host.",
            code="scrypt_unavailable",
        ) from exc


def read_passphrase_file(path: Path) -> Passphrase:
    """The first line of a file that nobody else can read."""
    text = read_private_file(path, "passphrase file").partition(b"\n")[0].rstrip(b"\r")
    try:
        return Passphrase(text.decode())
    except UnicodeDecodeError as exc:
        raise PreconditionError(
            f"reading the passphrase file {path}",
            "it is not text in UTF-8.",
            "Write the passphrase into its first line.",
            code="passphrase_file_invalid",
        ) from exc
