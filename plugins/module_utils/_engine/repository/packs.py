# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs: many frames in one object, each readable alone.

A pack is a sealed object whose frames are addressed from manifests. Its identity is its random
id, not its path, so that packs can be moved.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from ..store.base import ObjectWriter, Store
from .compression import Buffer
from .keys import EpochKeys
from .sealed import HEADER_BYTES, Frame, Opener, Sealer

PACK_BYTES = 64 << 20
PACK_ID_BYTES = 16


@dataclass(frozen=True)
class PlacedFrame:
    """A frame and the pack that holds it."""

    pack: str
    frame: Frame


def pack_identity(pack_id: str) -> str:
    """What a pack's key is bound to."""
    return f"pack/{pack_id}"


class _OpenPack:
    """One pack while it is written."""

    def __init__(self, pack_id: str, writer: ObjectWriter, sealer: Sealer) -> None:
        self.pack_id = pack_id
        self.writer = writer
        self.sealer = sealer
        self.offset = HEADER_BYTES
        writer.write(sealer.header)


class PackWriter:
    """Appends frames for one worker, beginning a new pack whenever one is full.

    Not thread-safe on purpose: each worker has its own, so workers share nothing and never wait.
    The ids of all packs of one backup begin with its `prefix`, so that those of a backup that was
    never finished can be found.
    """

    def __init__(
        self,
        store: Store,
        keys: EpochKeys,
        role: str,
        name_of: Callable[[str], str],
        level: int,
        prefix: str = "",
        *,
        holds_pages: bool = True,
    ) -> None:
        self._store = store
        self._keys = keys
        self._role = role
        self._name_of = name_of
        self._level = level
        self._prefix = prefix
        self._holds_pages = holds_pages and role == "data"
        self._pack: _OpenPack | None = None
        self.pack_ids: list[str] = []
        self.stored_bytes = 0

    def append(self, raw: Buffer) -> PlacedFrame:
        """Seal `raw` as one frame and say where it is."""
        pack = self._pack or self._begin()
        number, sealed = pack.sealer.seal(raw)
        pack.writer.write(sealed)
        placed = PlacedFrame(pack.pack_id, Frame(number, pack.offset, len(sealed)))
        pack.offset += len(sealed)
        if pack.offset >= PACK_BYTES:
            self.finish()
        return placed

    def _begin(self) -> _OpenPack:
        pack_id = self._prefix + secrets.token_hex((PACK_ID_BYTES * 2 - len(self._prefix)) // 2)
        identity = pack_identity(pack_id)
        sealer = Sealer(self._keys, self._role, identity, self._level, holds_pages=self._holds_pages)
        self._pack = _OpenPack(pack_id, self._store.writer(self._name_of(pack_id)), sealer)
        return self._pack

    def finish(self) -> None:
        """Make the present pack durable; nothing may name its frames before."""
        if self._pack is not None:
            self._pack.writer.commit()
            self.pack_ids.append(self._pack.pack_id)
            self.stored_bytes += self._pack.offset
            self._pack = None

    def abandon(self) -> None:
        """Forget the present pack and keep those that are durable: a later backup may go on with them."""
        if self._pack is not None:
            self._pack.writer.abort()
            self._pack = None

    def abort(self) -> None:
        """Forget the present pack and remove those already written: the backup will not be."""
        self.abandon()
        for pack_id in self.pack_ids:
            self._store.delete(self._name_of(pack_id))
        self.pack_ids.clear()


class PackReader:
    """Reads frames of packs, keeping each pack's opened key. One per worker."""

    def __init__(
        self, store: Store, keys_of: Callable[[int], EpochKeys | None], role: str, name_of: Callable[[str], str]
    ) -> None:
        self._store = store
        self._keys_of = keys_of
        self._role = role
        self._name_of = name_of
        self._openers: dict[str, Opener] = {}

    def read(self, placed: PlacedFrame) -> bytes:
        """One frame's raw bytes, authenticated."""
        return self.read_run(placed.pack, [placed.frame])[0]

    def read_run(self, pack_id: str, frames: list[Frame]) -> list[bytes]:
        """Adjacent frames of one pack with a single read."""
        name = self._name_of(pack_id)
        opener = self._openers.get(pack_id)
        if opener is None:
            header = self._store.get_range(name, 0, HEADER_BYTES)
            opener = Opener(self._keys_of, self._role, pack_identity(pack_id), header, (name, self._store.url))
            self._openers[pack_id] = opener
        start = frames[0].offset
        window = memoryview(self._store.get_range(name, start, frames[-1].offset + frames[-1].length - start))
        return [
            opener.open(frame.number, window[frame.offset - start : frame.offset - start + frame.length])[0]
            for frame in frames
        ]
