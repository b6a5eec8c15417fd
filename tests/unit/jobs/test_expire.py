# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Expiring and collecting garbage: marked first, deleted later, predicted exactly, and never too much (I2, I8)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import made
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import (
    InterruptedJobError,
    StorageError,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs import backup_making, expire_summary
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.elsewhere import Backups, Elsewhere
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.expire import (
    Amount,
    ExpireResult,
    Expiry,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.survey import RESUMABLE
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import Warned
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import pack_lists
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.condemned import Condemned
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.intents import (
    COMPLETE,
    DEAD,
    Holder,
    Intents,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import Header
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.wal import WalArchive
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.retention_policy import Policy, parse
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import KeySpec, RepositorySpec
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.base import Unfinished
from fakes import MemoryStore
from made_cluster import Cluster

STOPPED = InterruptedJobError("running the job", "it was told to stop.", "Start it again.", code="interrupted")
NO_RULE = Policy()
LAST = parse({"keep_last": "1"})
DAY = 86400


class Killed(BaseException):
    """What kill -9 does, as far as the code is concerned: nothing after it runs."""


def expire(
    cluster: Cluster, policy: Policy = LAST, elsewhere: Callable[[], Backups | None] = lambda: None
) -> ExpireResult:
    """Run it, having made sure that its prediction is what it then does."""
    run = Expiry(cluster.stanza, policy, cluster.clock, cluster.sink, elsewhere).run
    store = cluster.stanza.repository.store
    assert isinstance(store, MemoryStore)
    before = dict(store.objects)
    predicted = run(check_mode=True)
    assert store.objects == before, "check mode changes nothing"
    result = run(check_mode=False)
    assert result == predicted
    return result


def nothing_needed_is_missing(cluster: Cluster, store: MemoryStore) -> None:
    for header in cluster.stanza.headers():
        assert pack_lists.named_by_manifest(cluster.stanza, header) <= cluster.stanza.packs_there(header.generation)
        assert all(cluster.archive.find(f"{1:08X}{number:016X}") for number in (2, 3))


def packs_there(store: MemoryStore) -> set[str]:
    return {name.rpartition("/")[2] for name in store.objects if "/packs/" in name}


def packs_needed(cluster: Cluster) -> set[str]:
    return {pack for each in cluster.stanza.headers() for pack in pack_lists.needed(cluster.stanza, each)}


@pytest.fixture
def history(cluster: Cluster) -> list[Header]:
    """A full backup, two incremental ones on it, and another full one."""
    relation = cluster.data / "base/1/16384"
    relation.write_bytes(b"".join(bytes([page]) * 8192 for page in range(100)))
    found = [cluster.back_up()]
    for page in (3, 77):
        with relation.open("r+b") as stream:
            stream.seek(page * 8192)
            stream.write(b"new" * 100)
        found.append(cluster.back_up("incremental"))
    return [*found, cluster.back_up()]


def test_what_expires_is_gone_at_once_and_its_data_after_the_grace_period(
    cluster: Cluster, store: MemoryStore, history: list[Header]
) -> None:
    before = packs_there(store)
    result = expire(cluster)
    assert [each.backup for each in result.expired] == history[:-1]
    assert cluster.stanza.backup_ids() == [history[-1].backup_id]
    assert packs_there(store) == before
    assert (result.condemned, result.waiting, result.deleted.objects) == (result.waiting, result.waiting, 0)
    assert result.condemned.objects == len(before - packs_needed(cluster)) + 3  # and the lists of packs

    assert not expire(cluster).changed
    cluster.clock.sleep(DAY - 1)
    assert not expire(cluster).changed
    cluster.clock.sleep(1)
    deleted = expire(cluster)
    assert (deleted.deleted, deleted.waiting) == (result.condemned, Amount())
    assert packs_there(store) == packs_needed(cluster)
    nothing_needed_is_missing(cluster, store)
    assert [name for name in store.objects if "/condemned/" in name or history[0].backup_id in name] == []
    assert not expire(cluster).changed


def test_without_a_grace_period_it_takes_one_run(cluster: Cluster, store: MemoryStore, history: list[Header]) -> None:
    result = expire(cluster, parse({"keep_last": "1", "grace_hours": "0"}))
    assert result.condemned == result.deleted != Amount()
    assert packs_there(store) == packs_needed(cluster)
    nothing_needed_is_missing(cluster, store)


def test_a_child_keeps_what_it_needs_of_a_parent_that_expires(
    cluster: Cluster, store: MemoryStore, history: list[Header]
) -> None:
    cluster.stanza.unpublish(history[-1].backup_id)
    full, first, second, _other = history
    needed = pack_lists.needed(cluster.stanza, second)
    assert needed & pack_lists.needed(cluster.stanza, full)
    result = expire(cluster, parse({"keep_last": "1", "grace_hours": "0"}))
    assert [each.backup for each in result.expired] == [full, first]
    assert packs_there(store) == needed
    nothing_needed_is_missing(cluster, store)


def test_every_verdict_has_a_reason_for_people(cluster: Cluster, history: list[Header]) -> None:
    values = expire_summary.values(expire(cluster))
    diff = expire_summary.diff(values, "main")
    gone = [line for line in diff["before"].splitlines() if line not in diff["after"].splitlines()]
    assert [line.partition(" ")[0] for line in gone[:3]] == [each.backup_id for each in history[:3]]
    assert all("there are 1 newer ones of the class manual" in line for line in gone[:3])
    assert "marked now" in gone[-1]
    assert diff["after"].startswith(f"{history[-1].backup_id} (manual): one of the 1 newest")
    again = expire_summary.values(expire(cluster))
    unchanged = expire_summary.diff(again, "main")
    assert (again["changed"], unchanged["before"]) == (False, unchanged["after"])
    assert "waiting" in expire_summary.lines(again)[-1]


def test_without_a_rule_only_garbage_goes(cluster: Cluster, store: MemoryStore, history: list[Header]) -> None:
    cluster.put_wal(1)
    store.put("stanzas/main/generations/lost/packs/" + "ab" * 16, b"an orphan")
    store.put("stanzas/main/backups/half-deleted/pack-list", b"")
    store.put("stanzas/main/intents/gone/alive", b"")
    store.put("stanzas/main/intents/gone/journal/000001", b"")
    before = set(store.objects)
    result = expire(cluster, NO_RULE)
    assert (result.expired, result.condemned.objects, len(result.verdicts)) == ([], 4, 4)
    cluster.clock.sleep(DAY)
    assert expire(cluster, NO_RULE).deleted.objects == 4
    assert before - set(store.objects) == {
        "stanzas/main/generations/lost/packs/" + "ab" * 16,
        "stanzas/main/backups/half-deleted/pack-list",
        "stanzas/main/intents/gone/alive",
        "stanzas/main/intents/gone/journal/000001",
    }
    nothing_needed_is_missing(cluster, store)


def test_what_a_later_version_has_put_there_is_left_alone(cluster: Cluster, store: MemoryStore) -> None:
    cluster.back_up()
    theirs = [
        "stanzas/main/generations/lost/packs/of-another-kind",
        "stanzas/main/generations/lost/index",
        "stanzas/main/backups/strange/pack-list.2",
        "stanzas/main/somewhere/else",
        "stanzas/other/generations/lost/packs/" + "ab" * 16,
    ]
    for name in theirs:
        store.put(name, b"")
    assert not expire(cluster, parse({"keep_last": "1", "grace_hours": "0"})).changed
    assert all(store.size(name) == 0 for name in theirs)


def test_wal_goes_when_nobody_needs_it_and_a_rule_is_there(cluster: Cluster, store: MemoryStore) -> None:
    cluster.put_wal(0, 1)
    cluster.back_up()
    cluster.archive.store("00000002.history", b"1\t0/900000\tno reason\n")
    assert not expire(cluster, NO_RULE).changed
    result = expire(cluster)
    (gone,) = result.wal
    assert (gone.timeline, gone.first, gone.last, gone.files) == (1, f"{1:08X}{0:016X}", f"{1:08X}{1:016X}", 2)
    cluster.clock.sleep(DAY)
    assert expire(cluster).deleted.objects == 2
    names = [archived.file_name for archived in cluster.archive.segments(1)]
    assert names == [f"{1:08X}{number:016X}" for number in (2, 3)]
    assert [archived.file_name for archived in cluster.archive.histories()] == ["00000002.history"]


def test_what_was_shipped_of_a_segment_goes_with_its_wal_or_when_that_is_archived(cluster: Cluster) -> None:
    cluster.put_wal(0, 1)
    cluster.back_up()  # of segments 2 and 3, on timeline 1
    cluster.archive.store("00000002.history", b"1\t0/%X\tno reason\n" % (4 * made.SEGMENT_BYTES + 40))
    shipped = {number: f"{1:08X}{number:016X}" for number in (1, 3, 4)}
    cluster.archive.partials.store(shipped[1], b"before the backup")
    cluster.archive.partials.store(shipped[3], b"archived in the meantime")
    cluster.archive.partials.store(shipped[4], b"where the timeline was left")
    cluster.archive.partials.store(f"{2:08X}{4:016X}", b"where somebody writes")

    def there() -> list[str]:
        return [each.file_name for each in cluster.archive.partials.there()]

    assert not expire(cluster, NO_RULE).changed
    expire(cluster)
    assert len(there()) == 4
    cluster.clock.sleep(DAY)
    expire(cluster)
    assert there() == [shipped[4], f"{2:08X}{4:016X}"]

    # A backup behind the fork, and none before it: nobody can follow the old timeline any more.
    on_new = {"timeline": 2, "start_lsn": 5 * made.SEGMENT_BYTES + 40, "stop_lsn": 5 * made.SEGMENT_BYTES + 500}
    backups = Backups([made.header(incarnation=cluster.life.incarnation, **on_new)])
    for header in cluster.stanza.headers():
        cluster.stanza.unpublish(header.backup_id)
    expire(cluster, elsewhere=lambda: backups)
    cluster.clock.sleep(DAY)
    cluster.archive.partials.store(f"{2:08X}{5:016X}", b"where somebody writes")
    expire(cluster, elsewhere=lambda: backups)
    assert there() == [f"{2:08X}{5:016X}"]


def test_partials_of_an_earlier_life_go_with_its_last_backup(cluster: Cluster) -> None:
    cluster.back_up()
    cluster.archive.partials.store(f"{1:08X}{4:016X}", b"the end of this life")
    life = cluster.stanza.begin_another(cluster.life.system_identifier, 15, made.SEGMENT_BYTES, cluster.clock)
    younger = WalArchive(cluster.stanza, life).partials
    younger.store(f"{1:08X}{4:016X}", b"the beginning of the next")
    backups = Backups([made.header(incarnation=life.incarnation)])
    expire(cluster)
    cluster.clock.sleep(DAY)
    expire(cluster)
    assert len(cluster.archive.partials.there()) == 1, "its backup is still there"
    for header in cluster.stanza.headers():
        cluster.stanza.unpublish(header.backup_id)
    expire(cluster, elsewhere=lambda: backups)
    cluster.clock.sleep(DAY)
    expire(cluster, elsewhere=lambda: backups)
    assert (len(cluster.archive.partials.there()), len(younger.there())) == (0, 1)


def test_wal_of_an_incarnation_without_a_backup_waits_for_its_first(cluster: Cluster, store: MemoryStore) -> None:
    cluster.put_wal(0, 1, 2)
    assert not expire(cluster).changed


def test_in_a_repository_without_backups_those_elsewhere_say_which_wal_is_needed(
    cluster: Cluster, store: MemoryStore
) -> None:
    cluster.put_wal(0, 1, 2, 3)
    old, new = ({"start_lsn": n * made.SEGMENT_BYTES + 40, "stop_lsn": n * made.SEGMENT_BYTES + 500} for n in (1, 2))
    life = cluster.life.incarnation
    backups = [made.header(incarnation=life, **each) for each in (old, new)]
    for nobody_knows in (None, Backups(), Backups([made.header(incarnation="another life", **old)])):
        assert not expire(cluster, elsewhere=lambda known=nobody_knows: known).changed
    assert not expire(cluster, elsewhere=lambda: Backups(backups, {life})).changed  # one may begin anywhere
    assert not expire(cluster, NO_RULE, lambda: Backups(backups)).changed

    (gone,) = expire(cluster, elsewhere=lambda: Backups(backups)).wal
    assert (gone.first, gone.files) == (f"{1:08X}{0:016X}", 1)
    expire(cluster, elsewhere=lambda: Backups(backups[1:]))
    cluster.clock.sleep(DAY)
    expire(cluster, elsewhere=lambda: Backups(backups))  # the older one is there again: what was marked for it stays
    assert [each.file_name for each in cluster.archive.segments(1)] == [f"{1:08X}{n:016X}" for n in (1, 2, 3)]
    assert not expire(cluster, elsewhere=lambda: None).changed


def test_where_there_is_no_backup_anywhere_the_wal_of_earlier_lives_stays(cluster: Cluster) -> None:
    cluster.put_wal(0, 1, 2)
    cluster.clock.sleep(DAY)
    cluster.stanza.begin_another(cluster.life.system_identifier, 15, made.SEGMENT_BYTES, cluster.clock)
    assert cluster.stanza.incarnations()[-1] != cluster.life
    assert not expire(cluster, elsewhere=Backups).changed


def test_while_another_repository_cannot_be_read_its_wal_stays(cluster: Cluster, tmp_path: Path) -> None:
    gone = RepositorySpec(str(tmp_path / "unmounted"), KeySpec(key_file=tmp_path / "key"))
    assert Elsewhere([gone], "main", cluster.sink).look() is None
    assert [event for event in cluster.sink.events if isinstance(event, Warned) and "unmounted" in event.message]
    assert Elsewhere([], "main", cluster.sink).look() is None


def test_a_backup_that_cannot_be_restored_is_told_and_does_not_count(
    cluster: Cluster, store: MemoryStore, history: list[Header]
) -> None:
    damaged = history[-1]
    only = pack_lists.needed(cluster.stanza, damaged)
    store.delete(cluster.stanza.pack_name(damaged.generation, min(only)))
    result = expire(cluster)
    assert [each.backup for each in result.verdicts if each.keep] == history[-2:]
    warnings = [event.message for event in cluster.sink.events if isinstance(event, Warned)]
    assert any(damaged.backup_id in message and min(only) in message for message in warnings)


def test_one_whose_wal_is_missing_does_not_count_either(
    cluster: Cluster, store: MemoryStore, history: list[Header]
) -> None:
    for name in [name for name in store.objects if f"{1:08X}{3:016X}" in name]:
        store.delete(name)
    result = expire(cluster)
    assert all("WAL segments that it needs are missing" in each.reasons[-1] for each in result.verdicts)


def test_a_manifest_that_cannot_be_read_stops_everything(
    cluster: Cluster, store: MemoryStore, history: list[Header]
) -> None:
    name = f"stanzas/main/backups/{history[1].backup_id}/manifest"
    store.objects[name] = b"rotten" + store.objects[name][6:]
    before = dict(store.objects)
    with pytest.raises(Exception, match=history[1].backup_id):
        Expiry(cluster.stanza, LAST, cluster.clock, cluster.sink).run(check_mode=False)
    assert store.objects == before


# --- dead backups


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
