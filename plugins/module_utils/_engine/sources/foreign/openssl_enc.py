# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `openssl enc -aes-256-cbc` encrypted.

Such a file has a mark and a salt, and nothing that says how the key was made of the passphrase:
`-pbkdf2` with its iterations and digest, or the older derivation, whose digest was MD5 before
OpenSSL 1.1.0 and is SHA-256 since. All of them are tried when the caller does not know. Nothing
authenticates the content either: that a passphrase is right shows in what comes out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ... import thirdparty
from ...errors import IntegrityError, PreconditionError
from .pieces import SIZE, Pieces

MAGIC = b"Salted__"

_SALT = 8
_BLOCK = 16
_KEY = {"aes-128-cbc": 16, "aes-192-cbc": 24, "aes-256-cbc": 32}
_TRIAL = 4096
_DEFAULT_ITERATIONS = 10000


@dataclass(frozen=True)
class Derivation:
    """How a key is made of a passphrase; without `iterations` in the older way."""

    digest: str
    iterations: int | None = None

    def __str__(self) -> str:
        return f"pbkdf2, {self.iterations} iterations, {self.digest}" if self.iterations else f"older, {self.digest}"


LIKELY = (Derivation("sha256", _DEFAULT_ITERATIONS), Derivation("sha256"), Derivation("md5"))


@dataclass(frozen=True)
class OpensslOptions:
    """What the file was encrypted with: `-aes-256-cbc`, and the derivation if it is known."""

    cipher: str = "aes-256-cbc"
    derivation: Derivation | None = None


def decrypted(
    pieces: Pieces, passphrase: str, options: OpensslOptions, is_known: Callable[[bytes], bool], attempted: str
) -> tuple[Iterator[bytes], Derivation]:
    """The content, and how its key was made. `is_known` tells a beginning that makes sense from noise."""
    if options.cipher not in _KEY:
        raise PreconditionError(
            attempted,
            f"the cipher {options.cipher} is none of {', '.join(_KEY)}.",
            "Decrypt the file with openssl first.",
            code="foreign_cipher_unknown",
        )
    digest = options.derivation.digest if options.derivation else LIKELY[0].digest
    if digest not in hashlib.algorithms_available:
        raise PreconditionError(
            attempted,
            f"Python knows no digest {digest}.",
            "Name the digest as openssl does: sha256, sha512, md5.",
            code="foreign_cipher_unknown",
        )
    start = pieces.peek(len(MAGIC) + _SALT + _TRIAL)
    salt, sample = start[len(MAGIC) : len(MAGIC) + _SALT], start[len(MAGIC) + _SALT :]
    if len(sample) < _BLOCK:
        raise _broken_off(attempted)
    whole = len(sample) < _TRIAL
    for derivation in [options.derivation] if options.derivation else LIKELY:
        beginning = _trial(_decryptor(passphrase, salt, derivation, _KEY[options.cipher]), sample, whole)
        if not beginning or is_known(beginning):
            pieces.read(len(MAGIC) + _SALT)
            decryptor = _decryptor(passphrase, salt, derivation, _KEY[options.cipher])
            return _stream(pieces, decryptor, attempted), derivation
    raise PreconditionError(
        attempted,
        "with this passphrase nothing comes out of it that is a dump, an archive or a compressed file.",
        "The passphrase is wrong, or the way its key was made of it is an unusual one (name -iter and -md), or the"
        " beginning of the file is damaged.",
        code="foreign_passphrase_wrong",
    )


def _trial(decryptor: Any, sample: bytes, whole: bool) -> bytes:
    plain: bytes = decryptor.update(sample[: len(sample) // _BLOCK * _BLOCK])
    content = _unpadded(plain) if whole else None
    return plain if content is None else content  # without its end it may still be known


def _unpadded(plain: bytes) -> bytes | None:
    padding = plain[-1]
    good = 1 <= padding <= _BLOCK and plain.endswith(bytes([padding]) * padding)
    return plain[:-padding] if good else None


def _stream(pieces: Pieces, decryptor: Any, attempted: str) -> Iterator[bytes]:
    """Decrypt all; the last block is held back for the padding in it."""
    held = b""
    while True:
        data = pieces.read(SIZE)
        if not data:
            break
        if len(data) % _BLOCK:
            raise _broken_off(attempted)
        plain: bytes = held + decryptor.update(data)
        held = plain[-_BLOCK:]
        yield plain[:-_BLOCK]
    last = _unpadded(held) if held else None
    if last is None:
        raise _broken_off(attempted)
    yield last


def _decryptor(passphrase: str, salt: bytes, derivation: Derivation, key_size: int) -> Any:
    material = _material(passphrase.encode(), salt, derivation, key_size + _BLOCK)
    ciphers = thirdparty.require("cryptography.hazmat.primitives.ciphers")
    key, vector = material[:key_size], material[key_size:]
    return ciphers.Cipher(ciphers.algorithms.AES(key), ciphers.modes.CBC(vector)).decryptor()


def _material(secret: bytes, salt: bytes, derivation: Derivation, size: int) -> bytes:
    if derivation.iterations:
        return hashlib.pbkdf2_hmac(derivation.digest, secret, salt, derivation.iterations, size)
    made, last = b"", b""
    while len(made) < size:
        last = hashlib.new(derivation.digest, last + secret + salt, usedforsecurity=False).digest()
        made += last
    return made[:size]


def _broken_off(attempted: str) -> IntegrityError:
    return IntegrityError(
        attempted,
        "what openssl encrypted does not end as it must.",
        "The file was cut short or damaged, when it was made or copied. Take another copy, or another backup.",
        code="foreign_file_truncated",
    )
