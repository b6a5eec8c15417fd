# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packs that one backup writes: kept when its manifest names them, removed when it fails."""

from __future__ import annotations

import secrets

from ...repository.packs import PackReader, PackWriter
from ...repository.stanza import Stanza
from .claim import resumable_after

_PREFIX_BYTES = 8
_MAP_LEVEL = 3


def new_prefix() -> str:
    """What the ids of all packs of one backup begin with."""
    return secrets.token_hex(_PREFIX_BYTES)


class Packs:
    """For each worker a writer for data and one for block maps. Use it as a context manager."""

    def __init__(
        self, stanza: Stanza, generation: str, prefix: str, level: int, jobs: int, *, holds_pages: bool = True
    ) -> None:
        self._stanza = stanza
        repository = stanza.repository

        def writer(role: str, level: int) -> PackWriter:
            return PackWriter(
                repository.store,
                repository.keys,
                role,
                lambda pack_id: stanza.pack_name(generation, pack_id),
                level,
                prefix,
                holds_pages=holds_pages,
            )

        self._writers = [(writer("data", level), writer("metadata", _MAP_LEVEL)) for _number in range(jobs)]
        self._keep = False

    def writers(self, index: int) -> tuple[PackWriter, PackWriter]:
        """One worker's."""
        return self._writers[index]

    def map_reader(self, generation: str) -> PackReader:
        """Reads block maps of an earlier backup."""
        repository = self._stanza.repository
        return PackReader(
            repository.store,
            repository.keys_of,
            "metadata",
            lambda pack_id: self._stanza.pack_name(generation, pack_id),
        )

    @property
    def stored_bytes(self) -> int:
        """How much was written, once the workers have finished."""
        return sum(writer.stored_bytes for pair in self._writers for writer in pair)

    def keep(self) -> None:
        """A manifest may name them from now on."""
        self._keep = True

    def __enter__(self) -> Packs:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if self._keep:
            return
        for pair in self._writers:
            for writer in pair:
                if resumable_after(kind):
                    writer.abandon()
                else:
                    writer.abort()
