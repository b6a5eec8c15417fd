# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A receiver whose server is promoted away, loses its slot, or comes back as somebody else."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Cluster, server_folder, wait_until
from receiving import Receiver, archived, finish_segment, partials, wait_for_shipped
from support import Site, objects


@pytest.fixture
def standby(streaming: Site, new_folder: Callable[[], Path]) -> Iterator[Cluster]:
    """A streaming standby of the site's cluster: of several hosts only one port can be said, so it has the same."""
    folder = new_folder()
    replica = streaming.cluster.postgres.adopt(
        folder / "data", streaming.cluster.port, server_folder(folder / "s", 0o700)
    )
    streaming.cluster.run(
        "pg_basebackup", "--pgdata", replica.data_directory, "--write-recovery-conf", "--checkpoint=fast"
    )
    replica.write_own_settings()
    replica.start("-c listen_addresses=")
    try:
        yield replica
    finally:
        replica.remove()


def where(cluster: Cluster) -> tuple[str, ...]:
    """The connection moved to another server."""
    return "--login-unix-socket", str(cluster.socket_dir), "--login-port", str(cluster.port)


def words_of(cluster: Cluster) -> list[str]:
    return [word for (word,) in cluster.sql("SELECT word FROM said ORDER BY word")]


def restore(site: Site, place: Cluster, **target: str) -> None:
    site.module(
        "pg_restore",
        destination=place.data_directory,
        port=place.port,
        socket_directory=place.socket_dir,
        **target,
    )


@pytest.mark.oldest_too  # before 15 pg_receivewal does not ask its slot where to begin
def test_it_follows_a_promoted_standby_and_sets_aside_what_never_happened_there(
    streaming: Site, standby: Cluster, new_folder: Callable[[], Path], new_place: Callable[[], Cluster]
) -> None:
    site, spool = streaming, new_folder() / "spool"
    site.cluster.sql("CREATE TABLE said (word text)")
    site.cluster.sql("INSERT INTO said VALUES ('by both')")
    ((position,),) = site.cluster.sql("SELECT pg_current_wal_flush_lsn()::text")
    replayed = "SELECT pg_last_wal_replay_lsn() >= %(position)s::pg_lsn"
    wait_until(lambda: standby.sql(replayed, position=position) == [(True,)], "the standby had caught up")
    with Receiver(site, spool) as receiver:
        receiver.waits_until_says("receiving WAL")
        standby.sql("ALTER SYSTEM SET primary_conninfo = ''")
        standby.reload()
        wait_until(
            lambda: standby.sql("SELECT count(*) FROM pg_stat_wal_receiver") == [(0,)], "the standby was cut off"
        )
        site.cluster.sql("INSERT INTO said VALUES ('by the old one alone')")
        wait_for_shipped(site.cluster, lambda: objects(site.repository))
        ((old, _length),) = partials(objects(site.repository))
        site.cluster.kill()
        assert receiver.stop() == 0
    with Receiver(site, spool, *where(standby)) as receiver:
        receiver.waits_until_says("receiver_waits_for_primary")
        standby.postgres.run("pg_ctl", "promote", "--wait", "--pgdata", standby.data_directory)
        receiver.waits_until_says("has left timeline 1")
        (folder,) = (spool / "aside").iterdir()
        assert [path.name for path in folder.iterdir()] == [f"{old}.partial"]
        standby.sql("INSERT INTO said VALUES ('by the new one')")
        new = finish_segment(standby)
        assert new[:8] == "00000002"
        wait_until(lambda: new in archived(site.repository), "the new timeline was archived")
        assert {"00000002.history"} <= archived(site.repository)
        assert old not in archived(site.repository)
        standby.sql("INSERT INTO said VALUES ('last')")
        wait_for_shipped(standby, lambda: objects(site.repository))
    with Receiver(site, spool, *where(site.cluster)) as receiver:  # the old one comes back
        site.cluster.start()
        receiver.waits_until_says("receiver_other_server")
        assert receiver.process.wait(60) == 1
    place = new_place()
    restore(site, place)
    assert words_of(place) == ["by both", "by the new one", "last"]


def test_of_several_hosts_it_follows_the_one_that_is_the_primary(
    streaming: Site, standby: Cluster, new_folder: Callable[[], Path]
) -> None:
    site = streaming
    hosts = "--login-host", f"{standby.socket_dir},{site.cluster.socket_dir}", "--login-port", str(standby.port)
    with Receiver(site, new_folder() / "spool", *hosts) as receiver:
        receiver.waits_until_says("receiving WAL")
        old = finish_segment(site.cluster)
        wait_until(lambda: old in archived(site.repository), "the primary's segment was archived")
        ((position,),) = site.cluster.sql("SELECT pg_current_wal_flush_lsn()::text")
        replayed = "SELECT pg_last_wal_replay_lsn() >= %(position)s::pg_lsn"
        wait_until(lambda: standby.sql(replayed, position=position) == [(True,)], "the standby had caught up")
        site.cluster.kill()
        standby.postgres.run("pg_ctl", "promote", "--wait", "--pgdata", standby.data_directory)
        new = finish_segment(standby)
        assert new[:8] == "00000002"
        wait_until(lambda: new in archived(site.repository), "the new primary's segment was archived")


def test_a_partial_serves_a_target_in_it_and_never_a_standby(
    streaming: Site, new_folder: Callable[[], Path], new_place: Callable[[], Cluster]
) -> None:
    site = streaming
    site.cluster.sql("CREATE TABLE said (word text)")
    with Receiver(site, new_folder() / "spool") as receiver:
        receiver.waits_until_says("receiving WAL")
        finish_segment(site.cluster)
        site.cluster.sql("INSERT INTO said VALUES ('before')")
        ((lsn,),) = site.cluster.sql("SELECT pg_current_wal_insert_lsn()::text")
        site.cluster.sql("INSERT INTO said VALUES ('behind')")
        wait_for_shipped(site.cluster, lambda: objects(site.repository))
    (timeline,) = site.module("pg_backup_info")["timelines"]
    reached, target = (tuple(int(part, 16) for part in each.split("/")) for each in (timeline["partial_until"], lsn))
    assert reached >= target
    place = new_place()
    restore(site, place, target_lsn=lsn)
    assert words_of(place) == ["before"]
    ((segment, _length),) = partials(objects(site.repository))
    data = server_folder(new_folder() / "data")
    wal = server_folder(data / "pg_wal")
    arguments = ("archive-fetch", segment, wal / "RECOVERYXLOG")
    (data / "recovery.signal").touch()
    assert site.lifeboat(*arguments).returncode == 0
    assert os.path.getsize(wal / "RECOVERYXLOG") == 16 << 20
    (data / "standby.signal").touch()
    assert site.lifeboat(*arguments, check=False).returncode == 1
    (data / "standby.signal").unlink()
    (data / "recovery.signal").unlink()
    assert site.lifeboat(*arguments, check=False).returncode == 1  # and nobody else


@pytest.mark.oldest_too  # before 15 pg_receivewal does not ask its slot where to begin
def test_a_gap_is_named_and_passed(streaming: Site, new_folder: Callable[[], Path]) -> None:
    site, spool = streaming, new_folder() / "spool"
    with Receiver(site, spool) as receiver:
        receiver.waits_until_says("receiving WAL")
        finish_segment(site.cluster)
        assert receiver.stop() == 0
    site.cluster.sql("SELECT pg_drop_replication_slot('lifeboat_main')")  # by somebody's mistake
    lost = [finish_segment(site.cluster) for _each in range(3)]
    site.cluster.sql("CHECKPOINT")
    gone = not any((site.cluster.data_directory / "pg_wal" / name).exists() for name in lost[:2])
    assert gone, "the server had removed them"
    with Receiver(site, spool) as receiver:
        receiver.waits_until_says("a gap")
        newest = finish_segment(site.cluster)
        wait_until(lambda: newest in archived(site.repository), "it went on behind the gap")
        assert set(receiver.status()["gaps"]) >= set(lost[:2])
        assert not set(lost[:2]) & archived(site.repository)


def test_a_spool_of_another_cluster_is_refused(streaming: Site, new_folder: Callable[[], Path]) -> None:
    site, spool = streaming, new_folder() / "spool"
    with Receiver(site, spool) as receiver:
        receiver.waits_until_says("receiving WAL")
        assert receiver.stop() == 0
    (spool / "spool.json").write_text(
        (spool / "spool.json").read_text().replace('"incarnation": "', '"incarnation": "0')
    )
    site.command_refused("spool_of_another_cluster", "receive", "--wal-method", "stream", "--spool", spool)
