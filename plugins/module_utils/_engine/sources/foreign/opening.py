# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opening a file: layer after layer is recognised and taken off, until its content comes out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...errors import PreconditionError, StorageError, UnsupportedError
from ...process import Runner
from . import compression, dump_ends, openpgp, openssl_enc, payloads
from .description import CSV, SQL, UNKNOWN, Layer, Payload
from .openssl_enc import OpensslOptions
from .pieces import SIZE, Pieces

_MOST_LAYERS = 8
_LOOK = 512


@dataclass(frozen=True)
class Unlocking:
    """What opens an encrypted file."""

    passphrase: str | None = field(default=None, repr=False)
    openssl: OpensslOptions = OpensslOptions()


@dataclass(frozen=True)
class OpenedFile:
    """A file's content, to be read once."""

    path: Path
    layers: tuple[Layer, ...]
    payload: Payload
    pieces: Pieces

    def require_known(self, attempted: str) -> OpenedFile:
        """Itself, if its content is something that we know."""
        if self.payload.kind != UNKNOWN:
            return self
        around = f" inside {', '.join(layer.name for layer in self.layers)}" if self.layers else ""
        raise UnsupportedError(
            attempted,
            f"{self.path} is{around} none of: an SQL script, an archive of pg_dump, a tar file, an SQLite database."
            f" {self.payload.note}".rstrip(),
            "Give the file that pg_dump, pg_basebackup, tar or sqlite3 wrote, compressed or encrypted as it is.",
            code="foreign_format_unknown",
        )


@contextmanager
def opened(
    path: Path, runner: Runner, unlocking: Unlocking, attempted: str, *, as_csv: bool = False
) -> Iterator[OpenedFile]:
    """Open a file by its content, whatever its name.

    Whoever reads `pieces` to the end knows that every layer was whole. CSV looks like any other
    text: the caller has to say it.
    """
    layers: list[Layer] = []
    with _raw(path, attempted) as descriptor:
        pieces = Pieces(_read(descriptor, path, attempted))
        pending: list[Iterator[bytes]] = []
        try:
            while len(layers) < _MOST_LAYERS:
                head = pieces.peek(_LOOK)
                compressor = compression.recognised(head)
                content: Iterator[bytes]
                if compressor:
                    layers.append(Layer(compressor, is_encryption=False))
                    content = compression.decompressed(compressor, pieces, runner, attempted)
                elif head.startswith(openssl_enc.MAGIC):
                    layers.append(Layer("openssl", is_encryption=True))
                    passphrase = _passphrase(unlocking, attempted, path, layers)
                    content, derivation = openssl_enc.decrypted(
                        pieces, passphrase, unlocking.openssl, payloads.is_known, attempted
                    )
                    layers[-1] = replace(layers[-1], detail=str(derivation))
                elif openpgp.recognised(head):
                    layers.append(Layer("openpgp", is_encryption=True))
                    passphrase = _passphrase(unlocking, attempted, path, layers)
                    if len(layers) == 1:
                        os.lseek(descriptor, 0, os.SEEK_SET)
                    source = descriptor if len(layers) == 1 else pieces
                    content = openpgp.decrypted(source, head, passphrase, runner, attempted)
                else:
                    break
                pending.append(content)
                pieces = Pieces(content)
            head = pieces.peek(payloads.SIZE)
            payload = Payload(CSV) if as_csv else payloads.payload_of(head)
            if payload.kind == SQL and not layers:
                tail = os.pread(descriptor, dump_ends.SIZE, max(0, os.fstat(descriptor).st_size - dump_ends.SIZE))
                payload = replace(payload, is_complete=dump_ends.is_complete(head[: dump_ends.SIZE], tail))
            yield OpenedFile(path, tuple(layers), payload, pieces)
        finally:
            for content in reversed(pending):  # innermost first: programs end before what feeds them
                content.close()  # type: ignore[attr-defined]


def _passphrase(unlocking: Unlocking, attempted: str, path: Path, layers: list[Layer]) -> str:
    if unlocking.passphrase is None:
        names = [layer.name for layer in layers]
        raise PreconditionError(
            attempted,
            f"{path} is encrypted by {names[-1]}, and no passphrase was given.",
            "Give the passphrase that it was encrypted with.",
            code="foreign_passphrase_missing",
            layers=names,
        )
    return unlocking.passphrase


@contextmanager
def _raw(path: Path, attempted: str) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise PreconditionError(
            attempted,
            f"{path} cannot be opened: {exc.strerror}.",
            "Give the path of a file that this user can read.",
            code="foreign_file_unreadable",
        ) from exc
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int, path: Path, attempted: str) -> Iterator[bytes]:
    while True:
        try:
            piece = os.read(descriptor, SIZE)
        except OSError as exc:
            raise StorageError(
                attempted,
                f"{path} cannot be read: {exc.strerror}.",
                "Copy the file to a medium that works, or take another backup.",
                code="foreign_file_read_failed",
            ) from exc
        if not piece:
            return
        yield piece
