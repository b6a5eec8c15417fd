# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stanza belongs to one cluster, and shows a backup only when it is whole."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import (
    DirectoryEntry,
    FileEntry,
    render_entry,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.repository import Repository
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Stanza
from fakes import MemoryStore
from made import header

IDENTIFIER = 7380000000000000001
ENTRIES = [DirectoryEntry("base", 0o700), FileEntry("base/1", 0, 0, 0o600, digest="d")]


# --- registration


def test_registering_again_changes_nothing(stanza: Stanza, clock: Clock, store: MemoryStore) -> None:
    life = stanza.register(IDENTIFIER, 15, 16 << 20, clock)
    before = dict(store.objects)
    assert stanza.register(IDENTIFIER, 15, 16 << 20, clock) == stanza.current() == stanza.require_registered() == life
    assert stanza.life(life.incarnation) == life
    assert store.objects == before


@pytest.mark.parametrize(("identifier", "major"), [(IDENTIFIER + 1, 15), (IDENTIFIER, 16)])
def test_another_cluster_is_refused(stanza: Stanza, clock: Clock, identifier: int, major: int) -> None:
    life = stanza.register(IDENTIFIER, 15, 16 << 20, clock)
    with expect.failure("stanza_of_another_cluster"):
        stanza.register(identifier, major, 16 << 20, clock)
    with expect.failure("stanza_of_another_cluster"):
        stanza.require_same_cluster(life, identifier, major)
    assert stanza.incarnations() == [life]


@pytest.mark.parametrize("same_cluster", [True, False])
def test_who_loses_the_race_to_register_is_judged_like_who_comes_later(
    repository: Repository, store: MemoryStore, clock: Clock, monkeypatch: pytest.MonkeyPatch, same_cluster: bool
) -> None:
    put = store.put

    def overtaken(name: str, data: bytes, *, if_absent: bool = False) -> bool:
        monkeypatch.undo()
        Stanza(repository, "main").register(IDENTIFIER, 15, 16 << 20, clock)
        return put(name, data, if_absent=if_absent)

    monkeypatch.setattr(store, "put", overtaken)
    if same_cluster:
        assert Stanza(repository, "main").register(IDENTIFIER, 15, 16 << 20, clock).number == 1
    else:
        with expect.failure("stanza_of_another_cluster"):
            Stanza(repository, "main").register(IDENTIFIER + 1, 15, 16 << 20, clock)
    assert [life.system_identifier for life in Stanza(repository, "main").incarnations()] == [IDENTIFIER]


def test_what_was_never_registered_is_explained(stanza: Stanza) -> None:
    assert stanza.current() is None
    with expect.failure("stanza_unknown"):
        stanza.require_registered()
    with expect.failure("incarnation_missing"):
        stanza.life("of somebody else")


def test_an_incarnation_cannot_be_put_into_another_stanza(
    stanza: Stanza, repository: Repository, store: MemoryStore, clock: Clock
) -> None:
    stanza.register(IDENTIFIER, 15, 16 << 20, clock)
    name = "stanzas/main/incarnations/000001"
    store.objects[name.replace("main", "other")] = store.objects[name]
    with expect.failure("object_damaged"):
        Stanza(repository, "other").incarnations()


# --- backups


def publish(stanza: Stanza, backup_id: str) -> None:
    stanza.publish(header(backup_id=backup_id), map(render_entry, ENTRIES))


def test_a_published_backup_is_there_with_all_it_holds(stanza: Stanza) -> None:
    publish(stanza, "20260102T000000Z-full-bbbbbb")
    publish(stanza, "20260101T000000Z-full-aaaaaa")
    assert stanza.backup_ids() == ["20260101T000000Z-full-aaaaaa", "20260102T000000Z-full-bbbbbb"]
    assert stanza.headers() == [header(backup_id=backup_id) for backup_id in stanza.backup_ids()]
    assert list(stanza.entries("20260101T000000Z-full-aaaaaa")) == ENTRIES


def test_a_backup_is_not_visible_while_or_when_its_manifest_fails(stanza: Stanza) -> None:
    def lines() -> Iterator[bytes]:
        assert stanza.backup_ids() == []
        yield render_entry(ENTRIES[0])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stanza.publish(header(), lines())
    assert stanza.backup_ids() == []


def test_what_lies_beside_a_manifest_makes_no_backup(stanza: Stanza, store: MemoryStore) -> None:
    publish(stanza, "a")
    store.put("stanzas/main/backups/b/something", b"")
    store.put("stanzas/main/backups/c/manifest.other", b"")
    assert stanza.backup_ids() == ["a"]


def test_an_unknown_backup_is_answered_with_the_known_ones(stanza: Stanza) -> None:
    for number in range(5):
        publish(stanza, f"backup{number}")
    with expect.failure("backup_unknown") as failure:
        stanza.header("backup9")
    assert "backup2, backup3, backup4" in failure.value.message


def test_a_list_reads_a_little_of_each_manifest_only(
    stanza: Stanza, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = random.Random(1)
    entries = (replace(ENTRIES[1], path=choose.randbytes(4000).hex()) for _ignored in range(1000))
    stanza.publish(header(backup_id="large"), map(render_entry, entries))
    read = []
    get_range = store.get_range

    def spy(name: str, offset: int, length: int) -> bytes:
        read.append(length)
        return get_range(name, offset, length)

    monkeypatch.setattr(store, "get_range", spy)
    assert [each.backup_id for each in stanza.headers()] == ["large"]
    assert sum(read) < 1.1 * (1 << 20) < len(store.objects["stanzas/main/backups/large/manifest"]) / 3


def test_a_manifest_cannot_take_the_place_of_another(stanza: Stanza, store: MemoryStore) -> None:
    publish(stanza, "one")
    store.objects["stanzas/main/backups/two/manifest"] = store.objects["stanzas/main/backups/one/manifest"]
    with expect.failure("object_damaged"):
        stanza.header("two")
