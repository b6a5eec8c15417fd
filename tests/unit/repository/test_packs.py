# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs: many frames in a few objects, each read alone, none visible before it is durable."""

from __future__ import annotations

from dataclasses import replace

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import packs
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.packs import (
    PackReader,
    PackWriter,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.repository import Repository
from fakes import MemoryStore


def name_of(pack_id: str) -> str:
    return f"packs/{pack_id}"


@pytest.fixture
def writer(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> PackWriter:
    monkeypatch.setattr(packs, "PACK_BYTES", 1000)
    return PackWriter(repository.store, repository.keys, "data", name_of, 3, "0badcafe")


@pytest.fixture
def reader(repository: Repository) -> PackReader:
    return PackReader(repository.store, repository.keys_of, "data", name_of)


def packs_in(store: MemoryStore) -> list[str]:
    return [info.name for info in store.list("packs/")]


def test_frames_come_back_from_as_many_packs_as_it_takes(
    writer: PackWriter, reader: PackReader, store: MemoryStore
) -> None:
    frames = [bytes(str(number), "ascii") * 97 for number in range(100)]
    placed = [writer.append(frame) for frame in frames]
    writer.finish()
    assert [reader.read(place) for place in placed] == frames
    assert {place.pack for place in placed} == set(writer.pack_ids)
    assert packs_in(store) == sorted(name_of(pack) for pack in writer.pack_ids)
    assert writer.stored_bytes == sum(len(store.objects[name]) for name in packs_in(store))
    assert len(writer.pack_ids) > 3
    assert all(len(store.objects[name]) < 1200 for name in packs_in(store))


def test_the_packs_of_one_backup_can_be_told_by_their_beginning(writer: PackWriter) -> None:
    for _ignored in range(2):
        writer.append(b"x")
        writer.finish()
    assert {pack[:8] for pack in writer.pack_ids} == {"0badcafe"}
    assert {len(pack) for pack in writer.pack_ids} == {32}
    assert len(set(writer.pack_ids)) == 2


def test_a_pack_is_not_there_before_it_is_finished(writer: PackWriter, store: MemoryStore) -> None:
    writer.append(b"x")
    assert packs_in(store) == writer.pack_ids == []
    writer.finish()
    writer.finish()
    assert len(packs_in(store)) == len(writer.pack_ids) == 1


def test_without_frames_there_is_no_pack(writer: PackWriter, store: MemoryStore) -> None:
    writer.finish()
    assert packs_in(store) == []


def test_a_backup_that_fails_leaves_no_packs(writer: PackWriter, store: MemoryStore) -> None:
    writer.append(b"x" * 10)
    writer.finish()
    writer.append(b"y" * 10)
    writer.abort()
    writer.abort()
    assert packs_in(store) == writer.pack_ids == []


def test_frames_that_lie_side_by_side_are_fetched_together(
    writer: PackWriter, reader: PackReader, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [b"one", b"two", b"three", b"four"]
    placed = [writer.append(frame) for frame in frames]
    writer.finish()
    reader.read(placed[0])  # opens the pack
    fetched: list[tuple[int, int]] = []
    get_range = store.get_range

    def spy(name: str, offset: int, length: int) -> bytes:
        fetched.append((offset, length))
        return get_range(name, offset, length)

    monkeypatch.setattr(store, "get_range", spy)
    assert reader.read_run(placed[1].pack, [place.frame for place in placed[1:]]) == frames[1:]
    assert fetched == [(placed[1].frame.offset, sum(place.frame.length for place in placed[1:]))]


def test_a_frame_is_found_neither_in_another_place_nor_in_another_pack(
    writer: PackWriter, reader: PackReader, repository: Repository
) -> None:
    one = writer.append(b"frame 1")
    two = writer.append(b"frame 2")
    writer.finish()
    other = writer.append(b"frame 1")
    writer.finish()
    assert other.frame == one.frame
    misplaced = [
        replace(one, frame=replace(one.frame, number=1)),
        replace(one, frame=replace(one.frame, offset=two.frame.offset)),
        replace(one, frame=replace(one.frame, length=one.frame.length - 1)),
    ]
    for place in misplaced:
        with expect.failure("object_damaged") as failure:
            reader.read(place)
        assert failure.value.details["object"] == name_of(one.pack)
    exchanged = {one.pack: other.pack, other.pack: one.pack}
    with expect.failure("object_damaged"):
        PackReader(repository.store, repository.keys_of, "data", lambda pack: name_of(exchanged[pack])).read(one)


def test_block_maps_cannot_pass_for_data(writer: PackWriter, repository: Repository) -> None:
    placed = writer.append(b"data")
    writer.finish()
    with expect.failure("object_damaged"):
        PackReader(repository.store, repository.keys_of, "metadata", name_of).read(placed)
