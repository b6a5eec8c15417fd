# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which archived WAL, and which of what was shipped of unfinished segments, goes with the backups (I2)."""

from __future__ import annotations

from pathlib import Path

import made
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.retention.elsewhere import (
    Backups,
    Elsewhere,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import Warned
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.wal import WalArchive
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import KeySpec, RepositorySpec
from fakes import MemoryStore
from made_cluster import Cluster
from made_expiry import DAY, NO_RULE, expire


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


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_timeline_to_which_no_backup_leads_stays_while_it_may_be_written(cluster: Cluster, where: str) -> None:
    cluster.back_up()  # from segment 2 on
    cluster.archive.store("00000002.history", b"1\t0/%X\tno reason\n" % (made.SEGMENT_BYTES + 40))
    cluster.archive.store(f"{2:08X}{1:016X}", b"behind the fork, which is before the backup")
    cluster.archive.partials.store(f"{2:08X}{2:016X}", b"where somebody writes, and a backup may begin")
    backups = Backups(list(cluster.stanza.headers()))
    if where == "elsewhere":
        for header in backups.headers:
            cluster.stanza.unpublish(header.backup_id)

    def left() -> tuple[int, int]:
        for _marked_and_gone in range(2):
            expire(cluster, elsewhere=lambda: backups)
            cluster.clock.sleep(DAY)
        return len(list(cluster.archive.segments(2))), len(cluster.archive.partials.there())

    assert left() == (1, 1)
    cluster.stanza.begin_another(cluster.life.system_identifier, 15, made.SEGMENT_BYTES, cluster.clock)
    assert left() == (0, 0)  # nobody will write there any more, nor get there
    assert [archived.file_name for archived in cluster.archive.segments(1)] == [f"{1:08X}{n:016X}" for n in (2, 3)]
