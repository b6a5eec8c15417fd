# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What dead, late and concurrent jobs leave: it is collected, and nothing else is (I2)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import (
    InterruptedJobError,
    StorageError,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.backup import making as backup_making
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.retention.expire import Expiry
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.retention.survey import RESUMABLE
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import Warned
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.condemned import Condemned
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.intents import (
    COMPLETE,
    DEAD,
    Holder,
    Intents,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import Header
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.retention_policy import parse
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.base import Unfinished
from fakes import MemoryStore
from made_cluster import Cluster
from made_expiry import (
    DAY,
    LAST,
    NO_RULE,
    STOPPED,
    Killed,
    expire,
    make_history,
    nothing_needed_is_missing,
    packs_needed,
    packs_there,
)


@pytest.fixture
def history(cluster: Cluster) -> list[Header]:
    return make_history(cluster)


def interrupted(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, backup_type: str = "full") -> None:
    def stop(*_ignored: object, **__: object) -> None:
        raise STOPPED

    with monkeypatch.context() as patch, pytest.raises(InterruptedJobError):
        patch.setattr(backup_making, "wait_for_segments", stop)
        cluster.back_up(backup_type, journal_every=1)


def is_dead(monkeypatch: pytest.MonkeyPatch, answer: bool | None) -> None:
    monkeypatch.setattr(Holder, "is_dead", lambda _holder: answer)


def test_a_dead_backup_is_spared_while_another_may_go_on_from_it(
    cluster: Cluster, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.put_wal(0)
    cluster.back_up()
    interrupted(cluster, monkeypatch)
    is_dead(monkeypatch, True)
    before = dict(store.objects)
    no_grace = parse({"keep_last": "1", "grace_hours": "0"})
    assert not expire(cluster, no_grace).changed
    assert store.objects == before
    cluster.clock.sleep(RESUMABLE.total_seconds())
    result = expire(cluster, no_grace)
    assert list(result.forgotten.values()) == ["it has died, and nobody went on from it in 3 days"]
    assert packs_there(store) == packs_needed(cluster)
    assert not [name for name in store.objects if "/intents/" in name]
    assert not expire(cluster, no_grace).changed


def test_a_running_backup_is_spared_however_long_it_takes(
    cluster: Cluster, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, *_later = [cluster.back_up() for _ignored in range(3)]
    (cluster.data / "base/1/1259").write_text("changed")
    interrupted(cluster, monkeypatch, "incremental")  # its process, which is ours, is alive
    (running,) = Intents(cluster.stanza).all()
    cluster.clock.sleep(100 * DAY)
    result = expire(cluster, parse({"keep_last": "0", "grace_hours": "0"}))
    assert result.forgotten == {}
    kept = {each.backup.backup_id: each.reasons for each in result.verdicts if each.keep}
    assert f"the backup {running.backup_id} is being built on it" in kept[str(running.parent)]
    assert {name for name in packs_there(store) if name.startswith(running.pack_prefix)}
    assert parent.backup_id not in kept


def test_the_rest_of_an_attempt_that_another_went_on_from_goes(
    cluster: Cluster, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(cluster, monkeypatch)
    is_dead(monkeypatch, True)
    (cluster.data / "base/1/1259").write_text("changed since, so it is read again")
    cluster.back_up()
    assert packs_there(store) > packs_needed(cluster)
    expire(cluster, NO_RULE)
    cluster.clock.sleep(DAY)
    expire(cluster, NO_RULE)
    assert packs_there(store) == packs_needed(cluster)
    nothing_needed_is_missing(cluster, store)


def test_an_intent_beside_its_manifest_is_forgotten(
    cluster: Cluster, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Intents, "remove", lambda *_ignored: None)
        made_one = cluster.back_up()
    is_dead(monkeypatch, True)
    assert expire(cluster, NO_RULE).forgotten == {made_one.backup_id: "its backup is complete"}
    assert cluster.stanza.backup_ids() == [made_one.backup_id]
    nothing_needed_is_missing(cluster, store)


def test_writes_that_were_begun_long_ago_are_discarded_unless_their_backup_may_run(
    cluster: Cluster, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.put_wal(2, 3)
    interrupted(cluster, monkeypatch)  # its process, which is ours, is alive
    (running,) = Intents(cluster.stanza).all()
    now = cluster.clock.now()
    begun = [
        Unfinished(f"stanzas/main/{name}", "token", now - timedelta(hours=hours))
        for name, hours in (
            ("wal/x/00000001/00000000/1", 30),
            ("wal/x/00000001/00000000/2", 23),
            (f"generations/{running.generation}/packs/1", 30),
            (f"backups/{running.backup_id}/manifest", 30),
            ("generations/other/packs/1", 30),
        )
    ]
    discarded: list[Unfinished] = []
    monkeypatch.setattr(store, "unfinished", lambda folder: [each for each in begun if each.name.startswith(folder)])
    monkeypatch.setattr(store, "discard", discarded.append)
    assert expire(cluster, NO_RULE).unfinished == 2
    assert discarded == [begun[0], begun[4]]
    discarded.clear()
    assert expire(cluster, parse({"grace_hours": "0"})).unfinished == 3, "what is an hour old is not being written"
    is_dead(monkeypatch, True)
    assert expire(cluster, NO_RULE).unfinished == 4


def test_who_may_not_list_uploads_is_told_and_the_rest_is_done(
    cluster: Cluster, history: list[Header], store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_folder: str) -> None:
        raise StorageError("listing", "it is not permitted.", "Allow it.", code="storage_not_permitted")

    monkeypatch.setattr(store, "unfinished", refuse)
    assert expire(cluster).expired
    assert any("it is not permitted" in event.message for event in cluster.sink.events if isinstance(event, Warned))


# --- killed in the middle


def killing(monkeypatch: pytest.MonkeyPatch, store: MemoryStore, after: int) -> None:
    """The store takes so many changes, and then the process is no more."""
    done = 0

    def counted(change: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **how: Any) -> Any:
            nonlocal done
            if done == after:
                raise Killed
            done += 1
            return change(*arguments, **how)

        return run

    monkeypatch.setattr(store, "delete", counted(store.delete))
    monkeypatch.setattr(store, "put", counted(store.put))
    monkeypatch.setattr(store, "writer", counted(store.writer))


@pytest.mark.parametrize("ripe", [False, True], ids=["while marking", "while deleting"])
def test_killed_at_any_step_the_next_run_finishes(
    cluster: Cluster, store: MemoryStore, history: list[Header], monkeypatch: pytest.MonkeyPatch, ripe: bool
) -> None:
    if ripe:
        expire(cluster)
        cluster.clock.sleep(DAY)
    begin = dict(store.objects)
    now = cluster.clock.now()
    for steps in range(100):
        store.objects = dict(begin)
        finished = True
        with monkeypatch.context() as patch:
            killing(patch, store, steps)
            try:
                Expiry(cluster.stanza, LAST, cluster.clock, cluster.sink).run(check_mode=False)
            except Killed:
                finished = False
        nothing_needed_is_missing(cluster, store)
        assert history[-1].backup_id in cluster.stanza.backup_ids()
        if finished:
            break
        expire(cluster)
        cluster.clock.sleep(DAY)
        expire(cluster)
        assert cluster.stanza.backup_ids() == [history[-1].backup_id]
        assert packs_there(store) == packs_needed(cluster)
        nothing_needed_is_missing(cluster, store)
        assert Condemned(cluster.stanza).all() == []
    assert steps > 3
    assert cluster.clock.now() > now + timedelta(days=3)


def test_two_who_collect_at_the_same_time_do_no_harm(
    cluster: Cluster, store: MemoryStore, history: list[Header], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second runs from its beginning to its end at each step of the first."""
    begin, delete = dict(store.objects), store.delete
    at, done = 0, 0

    def interleaved(name: str, **how: Any) -> None:
        nonlocal done
        done += 1
        if done == at:
            Expiry(cluster.stanza, LAST, cluster.clock, cluster.sink).run(check_mode=False)
        delete(name, **how)

    monkeypatch.setattr(store, "delete", interleaved)
    while at <= done:
        store.objects, done = dict(begin), 0
        at += 1
        at_once = parse({"keep_last": "1", "grace_hours": "0"})
        Expiry(cluster.stanza, at_once, cluster.clock, cluster.sink).run(check_mode=False)
        nothing_needed_is_missing(cluster, store)
        assert cluster.stanza.backup_ids() == [history[-1].backup_id]
    assert at > 5


def test_a_backup_that_others_count_on_cannot_be_taken_for_dead_any_more(
    cluster: Cluster, store: MemoryStore, history: list[Header], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process has expired all others because of it, when another, who had not seen it yet, gives it up."""
    publish = Stanza.publish

    def disturbed(stanza: Stanza, header: Header, *rest: Any) -> None:
        publish(stanza, header, *rest)
        Expiry(stanza, LAST, cluster.clock, cluster.sink).run(check_mode=False)
        assert stanza.backup_ids() == [header.backup_id]
        assert Intents(stanza).settle(header.backup_id, DEAD) == COMPLETE

    monkeypatch.setattr(Stanza, "publish", disturbed)
    made = cluster.back_up()
    assert cluster.stanza.backup_ids() == [made.backup_id]
    nothing_needed_is_missing(cluster, store)


def test_a_backup_that_comes_after_it_was_given_up_is_withdrawn_and_counts_for_nothing(
    cluster: Cluster, store: MemoryStore, history: list[Header], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was paused, its packs have been deleted meanwhile, and it died before it could learn of that."""
    publish = Stanza.publish

    def late(stanza: Stanza, header: Header, lines: Any, ready: Callable[[], None]) -> None:
        def ready_then_paused() -> None:
            ready()
            assert Intents(stanza).settle(header.backup_id, DEAD) == DEAD
            for name in [name for name in store.objects if header.generation in name and "/packs/" in name]:
                store.delete(name)

        publish(stanza, header, lines, ready_then_paused)
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Stanza, "publish", late)
        cluster.back_up()
    (void,) = set(cluster.stanza.backup_ids()) - {each.backup_id for each in history}
    result = expire(cluster)
    assert result.withdrawn == [void]
    assert cluster.stanza.backup_ids() == [history[-1].backup_id]
    nothing_needed_is_missing(cluster, store)
    assert not expire(cluster).changed
