# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Streams of unknown length come back from packs as they were, whatever the pieces; a failure anywhere is the error."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.packs import PackWriter
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.sealed import FRAME_RAW_BYTES
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources import stream_file
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.file_reader import FileReader


def writer(stanza: Stanza, level: int = 3) -> PackWriter:
    repository = stanza.repository
    return PackWriter(
        repository.store,
        repository.keys,
        "data",
        lambda pack_id: stanza.pack_name("g", pack_id),
        level,
        holds_pages=False,
    )


def stored(stanza: Stanza, pieces: list[bytes], level: int = 3) -> bytes:
    reader, packs = FileReader(stanza, "g", 1), writer(stanza, level)
    told: list[int] = []
    entry = stream_file.store("a.dump", pieces, packs, reader.digester, 7, told.append)
    packs.finish()
    assert sum(told) == entry.size == sum(map(len, pieces))
    return b"".join(bytes(piece) for piece in reader.pieces(entry))


@pytest.mark.parametrize("level", [0, 3, 19])
@pytest.mark.parametrize("size", [0, 1, FRAME_RAW_BYTES, FRAME_RAW_BYTES + 1, 3 * FRAME_RAW_BYTES])
def test_it_comes_back(stanza: Stanza, size: int, level: int) -> None:
    whole, cuts = random.Random(size).randbytes(size), random.Random(level)
    pieces, start = [], 0
    while start < size:
        end = start + cuts.randint(1, size)
        pieces.append(whole[start:end])
        start = end
    assert stored(stanza, pieces, level) == whole


def test_what_breaks_off_is_no_file(stanza: Stanza) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * FRAME_RAW_BYTES
        raise RuntimeError("the program failed")

    digester = FileReader(stanza, "g", 1).digester
    with pytest.raises(RuntimeError, match="the program failed"):
        stream_file.store("a.dump", broken(), writer(stanza), digester, 7, lambda _count: None)


def test_a_store_that_fails_ends_it(stanza: Stanza, monkeypatch: pytest.MonkeyPatch) -> None:
    packs = writer(stanza)

    def full(_raw: bytes) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(packs, "append", full)
    endless = (b"x" * FRAME_RAW_BYTES for _number in iter(int, 1))
    with pytest.raises(OSError, match="no space left"):
        stream_file.store("a.dump", endless, packs, FileReader(stanza, "g", 1).digester, 7, lambda _count: None)
