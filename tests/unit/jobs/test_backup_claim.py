# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup's claim: what it takes over must be there, and who was taken for dead publishes nothing (I1, I2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import InterruptedJobError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.backup import making as backup_making
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import layout, pack_lists
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.condemned import Condemned
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.intents import (
    DEAD,
    Holder,
    Intents,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Stanza
from fakes import MemoryStore
from made_cluster import Cluster

STOPPED = InterruptedJobError("running the job", "it was told to stop.", "Start it again.", code="interrupted")
Patch = pytest.MonkeyPatch


def packs_needed(cluster: Cluster) -> set[str]:
    return {pack for each in cluster.stanza.headers() for pack in pack_lists.needed(cluster.stanza, each)}


def packs_there(store: MemoryStore) -> set[str]:
    return {name.rpartition("/")[2] for name in store.objects if "/packs/" in name}


def left_there(store: MemoryStore) -> list[str]:
    return [name for name in store.objects if "/intents/" in name or name.endswith("/pack-list")]


def dead(monkeypatch: Patch, answer: bool | None = True) -> None:
    """Whoever has written an intent has died, or nobody can say."""
    monkeypatch.setattr(Holder, "is_dead", lambda _holder: answer)


def at_publication(monkeypatch: Patch, before: Callable[[Stanza], None], after: Callable[[Stanza], None]) -> None:
    """Something happens while the manifest is being written: just before the last look, or just after it is there."""
    publish = Stanza.publish

    def disturbed(stanza: Stanza, header: Any, lines: Any, ready: Callable[[], None]) -> None:
        before(stanza)
        publish(stanza, header, lines, ready)
        after(stanza)

    monkeypatch.setattr(Stanza, "publish", disturbed)


def interrupted(cluster: Cluster, monkeypatch: Patch, backup_type: str = "full") -> None:
    """A backup that has read everything, and was stopped before it could publish."""

    def stop(*_ignored: object, **__: object) -> None:
        raise STOPPED

    with monkeypatch.context() as patch, pytest.raises(InterruptedJobError):
        patch.setattr(backup_making, "wait_for_segments", stop)
        cluster.back_up(backup_type, journal_every=1)


def nothing(_stanza: Stanza) -> None:
    """Nobody interferes."""


def taken_for_dead(stanza: Stanza) -> None:
    """Another process, which has not heard of this one for long, cleans up."""
    intents = Intents(stanza)
    for intent in intents.all():
        assert intents.settle(intent.backup_id, DEAD) == DEAD


@pytest.mark.parametrize(("before", "after"), [(taken_for_dead, nothing), (nothing, taken_for_dead)])
def test_a_backup_that_was_taken_for_dead_is_none(
    cluster: Cluster, monkeypatch: Patch, before: Callable[[Stanza], None], after: Callable[[Stanza], None]
) -> None:
    at_publication(monkeypatch, before, after)
    with expect.failure("backup_taken_for_dead"):
        cluster.back_up()
    assert cluster.stanza.backup_ids() == []


def test_a_backup_whose_parent_vanished_is_none(cluster: Cluster, store: MemoryStore, monkeypatch: Patch) -> None:
    parent = cluster.back_up()
    at_publication(monkeypatch, lambda stanza: stanza.unpublish(parent.backup_id), nothing)
    with expect.failure("parent_vanished"):
        cluster.back_up("incremental")
    assert cluster.stanza.backup_ids() == []
    assert [name for name in left_there(store) if parent.backup_id not in name] == []


def test_a_parent_that_vanished_before_the_intent_was_there_is_noticed_at_once(
    cluster: Cluster, store: MemoryStore, monkeypatch: Patch
) -> None:
    parent = cluster.back_up()
    write = Intents.write

    def late(intents: Intents, intent: Any) -> None:
        cluster.stanza.unpublish(parent.backup_id)
        write(intents, intent)

    monkeypatch.setattr(Intents, "write", late)
    cluster.connection.asked.clear()
    with expect.failure("parent_vanished"):
        cluster.back_up("incremental")
    assert cluster.connection.asked == []
    assert [name for name in left_there(store) if parent.backup_id not in name] == []


def test_a_backup_names_no_pack_that_is_not_there(cluster: Cluster, store: MemoryStore, monkeypatch: Patch) -> None:
    cluster.back_up()
    pack = max((name for name in store.objects if "/packs/" in name), key=lambda name: len(store.objects[name]))
    at_publication(monkeypatch, lambda _stanza: store.delete(pack), nothing)
    with expect.failure("packs_vanished") as failure:
        cluster.back_up("incremental")
    assert failure.value.details["packs"] == [pack.rpartition("/")[2]]
    assert len(cluster.stanza.backup_ids()) == 1


def test_a_backup_goes_on_from_one_that_is_certainly_dead(
    cluster: Cluster, store: MemoryStore, monkeypatch: Patch
) -> None:
    interrupted(cluster, monkeypatch)
    dead(monkeypatch)
    kept = packs_there(store)
    whole = cluster.back_up()
    assert kept and kept <= packs_there(store)
    assert packs_needed(cluster) <= packs_there(store)
    assert whole.generation != whole.backup_id
    assert [name for name in left_there(store) if whole.backup_id not in name] == []


@pytest.mark.parametrize("gone", ["its packs", "its intent", "its protection"])
def test_what_has_gone_of_a_dead_one_is_read_again(
    cluster: Cluster, store: MemoryStore, monkeypatch: Patch, gone: str
) -> None:
    interrupted(cluster, monkeypatch)
    dead(monkeypatch)
    (attempt,) = Intents(cluster.stanza).all()
    write = Intents.write

    def late(intents: Intents, intent: Any) -> None:
        write(intents, intent)
        if gone == "its intent":
            Intents(cluster.stanza).remove(attempt.backup_id)
        if gone == "its protection":  # a process on another host, which cannot know that it is dead, has given it up
            assert Intents(cluster.stanza).settle(attempt.backup_id, DEAD) == DEAD
            return  # and will remove its packs
        for name in [name for name in store.objects if "/packs/" in name]:
            store.delete(name)

    monkeypatch.setattr(Intents, "write", late)
    cluster.back_up()
    assert packs_needed(cluster) == packs_there(store) != set()
    assert not [pack for pack in packs_needed(cluster) if pack.startswith(attempt.pack_prefix)]


def test_nobody_goes_on_from_one_that_only_seems_dead(cluster: Cluster, store: MemoryStore, monkeypatch: Patch) -> None:
    """It could wake up, and remove its packs because it cannot publish."""
    interrupted(cluster, monkeypatch)
    kept = packs_there(store)
    dead(monkeypatch, None)
    whole = cluster.back_up()  # an hour later
    assert whole.generation == whole.backup_id
    assert not kept & packs_needed(cluster)
    assert kept <= packs_there(store), "a backup on another host may still be writing them"
    left = [name.rpartition("/")[2] for name in left_there(store) if whole.backup_id not in name]
    assert left == ["intent", "verdict"], "it must learn that it was given up"


def test_a_damaged_journal_is_not_believed_and_stops_nobody(
    cluster: Cluster, store: MemoryStore, monkeypatch: Patch
) -> None:
    interrupted(cluster, monkeypatch)
    for name in [each for each in store.objects if "/journal/" in each]:
        store.objects[name] = store.objects[name][:-1] + b"!"
    dead(monkeypatch)
    cluster.back_up()
    assert packs_needed(cluster) <= packs_there(store)
    assert Intents(cluster.stanza).all() == []


def test_what_a_dead_one_has_left_goes_at_once_when_nobody_needs_it(
    cluster: Cluster, store: MemoryStore, monkeypatch: Patch
) -> None:
    cluster.back_up()
    (cluster.data / "base/1/1259").write_text("changed")
    interrupted(cluster, monkeypatch, "incremental")
    dead(monkeypatch)
    before = packs_there(store)
    cluster.back_up()
    assert len(before - packs_there(store)) == 1
    assert packs_needed(cluster) == packs_there(store)


def test_what_a_dead_one_has_left_stays_when_its_manifest_may_still_appear(
    cluster: Cluster, store: MemoryStore, monkeypatch: Patch
) -> None:
    """A bucket may make an object visible after who has sent it has died."""
    cluster.back_up()

    def stop(_stanza: Stanza, *_ignored: object) -> None:
        raise STOPPED

    (cluster.data / "base/1/1259").write_text("changed")
    with monkeypatch.context() as patch, pytest.raises(InterruptedJobError):
        patch.setattr(Stanza, "publish", stop)
        cluster.back_up("incremental")
    dead(monkeypatch)
    before = packs_there(store)
    cluster.back_up()
    assert before <= packs_there(store)
    assert Intents(cluster.stanza).all() == []


def test_a_crash_between_publication_and_tidying_up_costs_nothing(
    cluster: Cluster, store: MemoryStore, monkeypatch: Patch
) -> None:
    """The dead attempt's intent is still there although a backup has been made out of its packs."""
    interrupted(cluster, monkeypatch)
    dead(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(Intents, "remove", lambda *_ignored: None)
        made = cluster.back_up()
    needed = packs_needed(cluster)
    assert len(Intents(cluster.stanza).all()) == 2
    following = cluster.back_up()
    assert following.generation == following.backup_id, "a full backup refers to nothing older"
    assert needed <= packs_there(store)
    assert made.generation != following.generation
    assert Intents(cluster.stanza).all() == []


@pytest.mark.parametrize(("number", "refused"), [(1, False), (2, True), (3, True), (4, False)])
def test_a_backup_whose_wal_had_been_marked_for_deletion_is_none(
    cluster: Cluster, store: MemoryStore, monkeypatch: Patch, number: int, refused: bool
) -> None:
    """From a standby it may begin where no backup needed WAL any more; what was marked before it came may go."""
    cluster.put_wal(1, 2, 3, 4)
    folder = layout.stanza_folder(cluster.stanza.name)
    (marked,) = [name[len(folder) :] for name in store.objects if f"/{1:08X}{number:016X}-" in name]

    def mark(stanza: Stanza) -> None:
        Condemned(stanza).write({marked: "no backup needs it"}, cluster.clock)

    at_publication(monkeypatch, mark, nothing)
    if refused:
        with expect.failure("wal_condemned") as failure:
            cluster.back_up()
        assert f"{number:016X}" in failure.value.message
    else:
        cluster.back_up()
    assert len(cluster.stanza.backup_ids()) == (not refused)
