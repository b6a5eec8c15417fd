# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archived WAL: the same file again is the same object, another content under its name is an error."""

from __future__ import annotations

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.sealed import FRAME_RAW_BYTES
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Incarnation, Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.wal import ArchivedFile, WalArchive
from fakes import MemoryStore

SEGMENT = "000000010000000000000005"


@pytest.fixture
def life(stanza: Stanza, clock: Clock) -> Incarnation:
    return stanza.register(7380000000000000001, 15, 1 << 20, clock)


@pytest.fixture
def archive(stanza: Stanza, life: Incarnation) -> WalArchive:
    return WalArchive(stanza, life)


def found(archive: WalArchive, file_name: str = SEGMENT) -> ArchivedFile:
    archived = archive.find(file_name)
    assert archived is not None
    return archived


def test_a_file_comes_back(archive: WalArchive, store: MemoryStore) -> None:
    assert archive.find(SEGMENT) is None
    assert archive.store(SEGMENT, b"content" * 1000)
    archived = found(archive)
    assert archive.fetch(archived) == b"content" * 1000
    assert (archived.file_name, archived.stored_bytes) == (SEGMENT, store.size(archived.object_name))


def test_the_same_file_again_is_no_news(archive: WalArchive, store: MemoryStore) -> None:
    archive.store(SEGMENT, b"content")
    before = dict(store.objects)
    assert not archive.store(SEGMENT, b"content")
    assert store.objects == before


def test_another_content_under_its_name_is_refused(archive: WalArchive, store: MemoryStore) -> None:
    archive.store(SEGMENT, b"content")
    before = dict(store.objects)
    with expect.failure("wal_conflict"):
        archive.store(SEGMENT, b"another content")
    assert store.objects == before


@pytest.mark.parametrize("theirs", [b"content", b"another content"])
def test_of_two_who_archive_at_once_both_learn_of_a_conflict(
    archive: WalArchive, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, theirs: bytes
) -> None:
    writer = store.writer

    def overtaken(name: str) -> object:
        monkeypatch.undo()
        archive.store(SEGMENT, theirs)
        return writer(name)

    monkeypatch.setattr(store, "writer", overtaken)
    if theirs == b"content":
        assert archive.store(SEGMENT, b"content")
    else:
        for content in (b"content", theirs):
            with expect.failure("wal_conflict"):
                archive.store(SEGMENT, content)
        with expect.failure("wal_conflict"):
            archive.find(SEGMENT)


def test_names_that_begin_alike_are_told_apart(archive: WalArchive) -> None:
    names = [SEGMENT, f"{SEGMENT}.partial", f"{SEGMENT}.00000028.backup", "00000002.history"]
    for name in names:
        archive.store(name, name.encode())
    assert [archive.fetch(found(archive, name)).decode() for name in names] == names
    assert [each.file_name for each in archive.segments(1)] == [SEGMENT]
    assert [each.file_name for each in archive.histories()] == ["00000002.history"]


def test_segments_are_listed_in_order_by_timeline(archive: WalArchive) -> None:
    numbers = [0x1_0000_0000, 0xFE, 0x2_0000_0010, 0x05]
    for timeline in (1, 0x1F):
        for number in numbers:
            archive.store(f"{timeline:08X}{number:016X}", b"%d %d" % (timeline, number))
    archive.store("00000033.history", b"")
    assert archive.timelines() == [1, 0x1F]
    names = [each.file_name for each in archive.segments(0x1F)]
    assert names == [f"0000001F{number:016X}" for number in sorted(numbers)]
    assert [each.file_name for each in archive.segments(0x1F, first=names[2])] == names[2:]
    assert list(archive.segments(2)) == []


def test_a_file_cannot_take_the_place_of_another(archive: WalArchive, store: MemoryStore) -> None:
    archive.store(SEGMENT, b"content")
    other = SEGMENT[:-1] + "6"
    archived = found(archive)
    moved = archived.object_name.replace(SEGMENT, other)
    store.objects[moved] = store.objects.pop(archived.object_name)
    with expect.failure("object_damaged"):
        archive.fetch(found(archive, other))


def test_a_content_that_does_not_belong_to_its_name_is_found(archive: WalArchive, store: MemoryStore) -> None:
    archive.store(SEGMENT, b"content")
    archived = found(archive)
    store.objects[archived.object_name[:-32] + "0" * 32] = store.objects.pop(archived.object_name)
    with expect.failure("object_damaged") as failure:
        archive.fetch(found(archive))
    assert "digest" in failure.value.message


def test_a_large_segment_comes_piece_by_piece(archive: WalArchive) -> None:
    """A gibibyte of it must not be in memory at once."""
    content = bytes(range(256)) * (3 * FRAME_RAW_BYTES // 256)
    archive.store(SEGMENT, content)
    pieces = list(archive.pieces(found(archive)))
    assert [len(piece) for piece in pieces] == [FRAME_RAW_BYTES] * 3
    assert b"".join(pieces) == content


def test_lives_do_not_see_each_others_wal(stanza: Stanza, archive: WalArchive, life: Incarnation) -> None:
    archive.store(SEGMENT, b"content")
    other = Incarnation(2, "other", 1, 16, 1 << 20, "")
    assert WalArchive(stanza, other).find(SEGMENT) is None
    assert WalArchive(stanza, other).timelines() == []
