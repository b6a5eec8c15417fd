# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Expiring and collecting garbage: marked first, deleted later, predicted exactly, and never too much (I2, I8)."""

from __future__ import annotations

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.retention import (
    summary as expire_summary,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.retention.expire import Amount, Expiry
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import Warned
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import pack_lists
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import Header
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.retention_policy import parse
from fakes import MemoryStore
from made_cluster import Cluster
from made_expiry import DAY, LAST, NO_RULE, expire, make_history, nothing_needed_is_missing, packs_needed, packs_there


@pytest.fixture
def history(cluster: Cluster) -> list[Header]:
    return make_history(cluster)


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
