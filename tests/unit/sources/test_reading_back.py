# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files come back out of the packs as they were, however scattered their pages are, with every frame decoded once."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.block_map import BlockMap, Places
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.sealed import (
    FRAME_RAW_BYTES,
    Opener,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources import file_reader
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.cluster_reader import SourceFile
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.cluster_writer import (
    Destination,
    write_files,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.file_reader import FileReader
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.tally import ByteTally
from fakes import Collector, MemoryStore
from round_trip import Backup, content, read, readers, sources_in

PAGE = 8192
RANDOM = random.Random(5)
PAGES = 1500  # three windows
INCREMENTALS = 6
PATH = "base/1/1"


class Scattered:
    """A relation of which each incremental has stored some pages here and there, and how it was in the end."""

    def __init__(self, stanza: Stanza, folder: Path) -> None:
        (folder / "base/1").mkdir(parents=True)
        path = folder / PATH
        pages = [RANDOM.randbytes(PAGE) for _page in range(PAGES)]
        pages.append(RANDOM.randbytes(1000))  # the end of a file that was being extended
        (folder / "base/1/0").write_bytes(RANDOM.randbytes(77))  # bundled with it: its pages begin somewhere
        path.write_bytes(b"".join(pages))
        backup = read(stanza, sources_in(folder), jobs=1)
        for number in range(INCREMENTALS):
            (folder / "base/1/0").write_bytes(RANDOM.randbytes(77 + number))
            for block in RANDOM.sample(range(PAGES + 1), 60):
                pages[block] = RANDOM.randbytes(len(pages[block]))
            path.write_bytes(b"".join(pages))
            backup = read(stanza, _compared(folder, backup), jobs=1, refers_to_previous=True, trusts_previous=True)
        self.stanza = stanza
        self.entry = backup.by_name[PATH]
        self.content = path.read_bytes()

    @property
    def map(self) -> BlockMap:
        return readers(self.stanza)[0].block_map(self.entry)

    def restore(self, place: Path, *, keeps_equal: bool = False) -> None:
        destinations = [Destination(self.entry, place, keeps_equal)]
        (written,) = write_files(destinations, readers(self.stanza, 1), ByteTally(Collector(), 0))
        assert written.size == len(self.content)


def _compared(folder: Path, backup: Backup) -> list[SourceFile]:
    return [replace(source, previous=backup.by_name[source.name]) for source in sources_in(folder)]


@pytest.fixture
def scattered(stanza: Stanza, tmp_path: Path) -> Scattered:
    made = Scattered(stanza, tmp_path / "data")
    assert len(made.map.places.packs()) == INCREMENTALS + 1
    assert any(start % PAGE for start in made.map.places.start.tolist())
    return made


def test_scattered_pages_come_back(scattered: Scattered, tmp_path: Path) -> None:
    assert content(scattered.stanza, scattered.entry) == scattered.content
    scattered.restore(tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == scattered.content


def test_every_frame_is_decoded_once(scattered: Scattered, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: Counter[tuple[int, int]] = Counter()
    really_open = Opener.open

    def counting(opener: Opener, number: int, frame: bytes) -> tuple[bytes, bool]:
        decoded[id(opener), number] += 1
        return really_open(opener, number, frame)

    needed = len(scattered.map.places.used()) + len(scattered.entry.block_map) + len(scattered.entry.map_changes)
    (reader,) = readers(scattered.stanza, 1)
    monkeypatch.setattr(Opener, "open", counting)
    for _piece in reader.pieces(scattered.entry):
        pass
    assert sum(decoded.values()) == needed


@pytest.mark.parametrize("kept", [0, FRAME_RAW_BYTES, 5 * FRAME_RAW_BYTES])
def test_with_little_memory_it_takes_longer_and_is_the_same(
    scattered: Scattered, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(file_reader, "_KEPT_BYTES", kept)
    assert content(scattered.stanza, scattered.entry) == scattered.content


@pytest.mark.parametrize("at_once", [PAGE, 1 << 20, 1 << 30])
def test_what_differs_is_brought_back_in_place(
    scattered: Scattered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Even when the system takes a part of what is written at a time, as at the end of a disk's space."""
    really_write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, data, at: really_write(handle, data[: at_once - 1], at))
    for old in (
        scattered.content[:-1],
        scattered.content[: 700 * PAGE + 5],
        scattered.content + b"more",
        RANDOM.randbytes(100),
        _spoiled(scattered.content, [0, 3, 4, 5, 511, 512, 513, PAGES - 1, PAGES]),
    ):
        (tmp_path / "there").write_bytes(old)
        scattered.restore(tmp_path / "there", keeps_equal=True)
        assert (tmp_path / "there").read_bytes() == scattered.content


def _spoiled(data: bytes, blocks: list[int]) -> bytes:
    changed = bytearray(data)
    for block in blocks:
        changed[block * PAGE] ^= 1
    return bytes(changed)


def _start(places: Places, page: int, start: int) -> Places:
    changed = places.start.copy()
    changed[page] = start
    return replace(places, start=changed)


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda found: replace(found, places=_start(found.places, 7, FRAME_RAW_BYTES - 1)),
        lambda found: replace(found, places=_start(found.places, 7, 3 * FRAME_RAW_BYTES)),
        lambda found: replace(found, places=_start(found.places, 7, found.places.start[8])),
        lambda found: replace(found, digests=found.digests[16:] + found.digests[:16]),
        lambda found: replace(found, digests=found.digests[:-16]),
    ],
)
def test_a_map_that_leads_astray_is_an_error(
    scattered: Scattered, monkeypatch: pytest.MonkeyPatch, spoiled: Callable[[BlockMap], BlockMap]
) -> None:
    really_load = FileReader.block_map
    monkeypatch.setattr(FileReader, "block_map", lambda reader, entry: spoiled(really_load(reader, entry)))
    with expect.failure("file_digest_mismatch"):
        content(scattered.stanza, scattered.entry)


def test_a_content_that_is_not_what_was_recorded_is_an_error(stanza: Stanza, tmp_path: Path) -> None:
    folder = tmp_path
    (folder / "base/1").mkdir(parents=True)
    (folder / "file").write_bytes(b"x" * 100)
    (folder / "base/1/1").write_bytes(bytes(100 * PAGE))
    (folder / "base/1/2").write_bytes(b"x" * 100 * PAGE)
    entries = read(stanza, sources_in(folder)).by_name
    wrong = [
        replace(entries["file"], digest="0" * 32),
        replace(entries["file"], size=99),
        replace(entries["file"], chunks=()),
        replace(entries["base/1/1"], size=101 * PAGE),
    ]
    for entry in wrong:
        with expect.failure("file_digest_mismatch") as failure:
            list(readers(stanza)[0].pieces(entry))
        assert failure.value.details["file"] == entry.path


def test_a_frame_that_many_files_share_is_fetched_once(
    stanza: Stanza, store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        (tmp_path / f"file{number}").write_bytes(RANDOM.randbytes(1000))
    (tmp_path / "large").write_bytes(RANDOM.randbytes(8 * FRAME_RAW_BYTES))
    entries = read(stanza, sources_in(tmp_path), jobs=1).by_name
    fetched: list[str] = []
    get_range = store.get_range

    def spy(name: str, offset: int, length: int) -> bytes:
        fetched.append(name)
        return get_range(name, offset, length)

    monkeypatch.setattr(store, "get_range", spy)
    (reader,) = readers(stanza, jobs=1)
    for entry in entries.values():
        list(reader.pieces(entry))
    assert len(fetched) <= 1 + 1 + 3  # the pack's header, the shared frame, the large file's frames four by four
