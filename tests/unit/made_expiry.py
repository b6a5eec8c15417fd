# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Expiry as tests run it: predicted first, and what must be so whatever it has done."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import (
    InterruptedJobError,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.retention.elsewhere import Backups
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.retention.expire import (
    ExpireResult,
    Expiry,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import pack_lists
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import Header
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.retention_policy import Policy, parse
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


def make_history(cluster: Cluster) -> list[Header]:
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
