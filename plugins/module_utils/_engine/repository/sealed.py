# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sealed objects: frames of compressed, encrypted, authenticated bytes.

    header  "LBT" 0x01 | role (1) | epoch (4) | salt (32)          41 bytes
    frame   flags (1) | length of what follows (4) | ciphertext and tag
    ...

Integers are big-endian. A frame's nonce is its number from 0; its associated data are the header
and its flags; the key is derived from the epoch's key, the salt and the object's identity. So a
frame cannot be moved, an object cannot be renamed, and (by the flag on the last frame) a stream
cannot be cut short, without being found out.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import IntegrityError, UnsupportedError
from ..store.base import ObjectWriter, Store, missing
from ..thirdparty import require
from . import differences
from .aead import aes_gcm
from .compression import Buffer, compressor
from .keys import EpochKeys

MAGIC = b"LBT\x01"
_HEADER = struct.Struct(">4sBI32s")
_FRAME = struct.Struct(">BI")
HEADER_BYTES = _HEADER.size
FRAME_PREFIX_BYTES = _FRAME.size
TAG_BYTES = 16
_ROLE_CODES = {"data": 1, "metadata": 2}
_ROLE_NAMES = {code: name for name, code in _ROLE_CODES.items()}
COMPRESSED = 0x01
LAST = 0x02
DIFFERENCES = 0x04
FRAME_RAW_BYTES = 1 << 20
# No honest frame is longer; a damaged length must not make a reader allocate gigabytes.
_MAX_SEALED_BYTES = 4 * FRAME_RAW_BYTES


def damaged(name: str, url: str, happened: str) -> IntegrityError:
    """The one error for bytes that are not what was written."""
    return IntegrityError(
        f"reading {name} in {url}",
        happened,
        "Do not trust this object; restore it from another copy of the repository, and verify the repository.",
        code="object_damaged",
        object=name,
    )


@dataclass(frozen=True)
class Frame:
    """Where a frame lies in its object."""

    number: int
    offset: int
    length: int  # with its prefix


class Sealer:
    """Turns raw bytes into the frames of one object, in order. `holds_pages` if they may be pages of relations."""

    def __init__(self, keys: EpochKeys, role: str, identity: str, level: int, *, holds_pages: bool = False) -> None:
        salt = secrets.token_bytes(32)
        self.header = _HEADER.pack(MAGIC, _ROLE_CODES[role], keys.epoch, salt)
        self._aead = aes_gcm(keys.object_key(role, salt, identity))
        self._compress = compressor(level)
        self._holds_pages = holds_pages
        self._number = 0

    def seal(self, raw: Buffer, *, last: bool = False) -> tuple[int, bytes]:
        """The next frame's number and bytes."""
        flags = COMPRESSED
        if self._holds_pages and differences.pay(raw):
            flags |= DIFFERENCES
        payload: Buffer = self._compress(differences.taken(raw) if flags & DIFFERENCES else raw)
        if len(payload) >= len(raw):
            payload, flags = raw, 0
        if last:
            flags |= LAST
        number = self._number
        self._number += 1
        prefix = _FRAME.pack(flags, len(payload) + TAG_BYTES)
        sealed = self._aead.encrypt(number.to_bytes(12, "big"), payload, self.header + prefix[:1])
        return number, prefix + sealed


class Opener:
    """Authenticates and decodes the frames of one object."""

    def __init__(
        self,
        keys_of: Callable[[int], EpochKeys | None],
        role: str,
        identity: str,
        header: bytes,
        where: tuple[str, str],
    ) -> None:
        self._name, self._url = where
        self._header = header
        try:
            magic, code, epoch, salt = _HEADER.unpack(header)
        except struct.error as exc:
            raise damaged(self._name, self._url, "it is too short to be a sealed object.") from exc
        if magic != MAGIC:
            raise damaged(self._name, self._url, "it does not start like a sealed object.")
        if _ROLE_NAMES.get(code) != role:
            raise damaged(self._name, self._url, f"it is not sealed as {role}.")
        keys = keys_of(epoch)
        if keys is None:
            raise damaged(self._name, self._url, f"it names epoch {epoch}, of which the repository has no keys.")
        self._invalid_tag = require("cryptography.exceptions").InvalidTag
        self._aead = aes_gcm(keys.object_key(role, salt, identity))
        zstandard = require("zstandard")
        self._zstd_error = zstandard.ZstdError
        self._decompress: Callable[[bytes], bytes] = zstandard.ZstdDecompressor().decompress

    def length(self, prefix: bytes) -> int:
        """How many bytes follow a frame's prefix."""
        try:
            _flags, length = _FRAME.unpack(prefix)
        except struct.error as exc:
            raise damaged(self._name, self._url, "it ends in the middle of a frame.") from exc
        if not TAG_BYTES <= length <= _MAX_SEALED_BYTES:
            raise damaged(self._name, self._url, "a frame's length is impossible.")
        return int(length)

    def open(self, number: int, frame: bytes | memoryview) -> tuple[bytes, bool]:
        """One frame's raw bytes, and whether it is the last of its object."""
        view = memoryview(frame)
        prefix, sealed = bytes(view[:FRAME_PREFIX_BYTES]), view[FRAME_PREFIX_BYTES:]
        if self.length(prefix) != len(sealed):
            raise damaged(self._name, self._url, f"frame {number} has the wrong length.")
        try:
            payload = self._aead.decrypt(number.to_bytes(12, "big"), sealed, self._header + prefix[:1])
            self._require_known(number, prefix[0])
            raw = self._decompress(payload) if prefix[0] & COMPRESSED else payload
            if prefix[0] & DIFFERENCES:
                raw = self._added_up(number, raw)
        except self._invalid_tag as exc:
            raise damaged(self._name, self._url, f"frame {number} fails its authentication.") from exc
        except self._zstd_error as exc:
            raise damaged(self._name, self._url, f"frame {number} does not decompress ({exc}).") from exc
        return raw, bool(prefix[0] & LAST)

    def _added_up(self, number: int, raw: bytes) -> bytes:
        if len(raw) % differences.ENTRY_BYTES:
            raise damaged(self._name, self._url, f"frame {number} is not made of whole entries.")
        return differences.added_up(raw)

    def _require_known(self, number: int, flags: int) -> None:
        if flags & ~(COMPRESSED | LAST | DIFFERENCES):
            raise UnsupportedError(
                f"reading {self._name} in {self._url}",
                f"frame {number} is sealed in a way that this Lifeboat does not know (flags {flags:#x}).",
                "Update Lifeboat on this host.",
                code="format_too_new",
            )


class StreamWriter:
    """Writes one sealed object from bytes of any length. Commit decides, as in the store."""

    def __init__(self, writer: ObjectWriter, sealer: Sealer) -> None:
        self._writer = writer
        self._sealer = sealer
        self._pending = bytearray()
        writer.write(sealer.header)

    def write(self, data: bytes | memoryview) -> None:
        """Append raw bytes."""
        view = memoryview(data)
        if len(self._pending) + len(view) > FRAME_RAW_BYTES:  # one frame stays back: the last must say so
            if self._pending:
                room = FRAME_RAW_BYTES - len(self._pending)
                self._pending += view[:room]
                view = view[room:]
                self.end_frame()
            while len(view) > FRAME_RAW_BYTES:
                self._writer.write(self._sealer.seal(view[:FRAME_RAW_BYTES])[1])
                view = view[FRAME_RAW_BYTES:]
        self._pending += view

    def end_frame(self) -> None:
        """Close the present frame, so that what was written so far can be read alone."""
        self._writer.write(self._sealer.seal(bytes(self._pending))[1])
        self._pending.clear()

    def finish(self) -> None:
        """Write the last frame; the caller commits the object."""
        self._writer.write(self._sealer.seal(bytes(self._pending), last=True)[1])
        self._pending.clear()


class _Window:
    """Reads an object in large pieces although its frames are asked for one by one."""

    def __init__(self, store: Store, name: str, size: int, at_once: int) -> None:
        self._store, self._name, self._size, self._at_once = store, name, size, at_once
        self._start, self._bytes = 0, b""

    def take(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, or an error that says the object is cut."""
        if offset + length > self._size:
            raise damaged(self._name, self._store.url, "it ends in the middle of a frame.")
        if offset < self._start or offset + length > self._start + len(self._bytes):
            self._bytes = self._store.get_range(
                self._name, offset, min(max(length, self._at_once), self._size - offset)
            )
            self._start = offset
        return self._bytes[offset - self._start : offset - self._start + length]


def read_stream(
    store: Store,
    name: str,
    keys_of: Callable[[int], EpochKeys | None],
    role: str,
    identity: str,
    *,
    size: int | None = None,
    at_once: int = FRAME_RAW_BYTES,
) -> Iterator[bytes]:
    """Raw bytes of a sealed stream, frame by frame; a stream that was cut short is an error.

    Who knows the object's size from a listing saves a request. `at_once` is how much to ask for, if it is there.
    """
    if size is None:
        size = store.size(name)
    if size is None:
        raise missing(name, store.url)
    window = _Window(store, name, size, at_once)
    opener = Opener(keys_of, role, identity, window.take(0, HEADER_BYTES), (name, store.url))
    offset, number, last = HEADER_BYTES, 0, False
    while not last:
        length = FRAME_PREFIX_BYTES + opener.length(window.take(offset, FRAME_PREFIX_BYTES))
        raw, last = opener.open(number, window.take(offset, length))
        offset, number = offset + length, number + 1
        yield raw
    if offset != size:
        raise damaged(name, store.url, "bytes follow its last frame.")
