# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The streaming receiver with real servers: what it brings away, and what it does not lose whatever dies."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Cluster, cannot_be_had, run, server_folder, server_user, wait_until
from receiving import Receiver, archived, finish_segment, partials, wait_for_shipped
from support import Site, objects, task

SLOT = "lifeboat_main"


def orders_of(cluster: Cluster) -> list[tuple[object, ...]]:
    return cluster.sql("SELECT n FROM acknowledged ORDER BY n")


@pytest.mark.every_version
def test_segments_and_the_unfinished_one_come_away_whatever_is_killed(
    streaming: Site, new_folder: Callable[[], Path], new_place: Callable[[], Cluster]
) -> None:
    site, spool = streaming, new_folder() / "spool"
    site.cluster.sql("CREATE TABLE acknowledged (n int)")
    with Receiver(site, spool, "--slot", SLOT) as receiver:
        receiver.waits_until_says("receiving WAL")
        names = [finish_segment(site.cluster) for _each in range(2)]
        wait_until(lambda: set(names) <= archived(site.repository), "the segments were there")
        assert stat.S_IMODE(spool.stat().st_mode) == 0o700
        site.command_refused("receiver_running", "receive", "--wal-method", "stream", "--spool", spool)

        os.kill(receiver.program(), signal.SIGKILL)  # it comes again
        names.append(finish_segment(site.cluster))
        wait_until(lambda: set(names) <= archived(site.repository), "it went on after its program was killed")

        receiver.kill()
        names += [finish_segment(site.cluster) for _each in range(2)]  # the slot holds them
        receiver.start()
        wait_until(lambda: set(names) <= archived(site.repository), "it went on after it was killed")

        site.cluster.sql("INSERT INTO acknowledged SELECT generate_series(1, 100)")
        wait_for_shipped(site.cluster, lambda: objects(site.repository))
        assert len(partials(objects(site.repository))) == 1
        left = {path.name for path in (spool / "pg_wal").iterdir() if len(path.name) == 24}
        assert left == {names[-1]}  # the newest stays, so that an old pg_receivewal knows where to go on

        assert receiver.stop() == 0
        assert receiver.status()["state"] == "stopped"
        assert "Traceback" not in receiver.text()
    site.cluster.kill()
    place = new_place()
    site.module("pg_restore", destination=place.data_directory, port=place.port, socket_directory=place.socket_dir)
    assert orders_of(place) == [(n,) for n in range(1, 101)]  # which no finished segment has


def test_a_repository_that_is_away_is_waited_for(streaming: Site, new_folder: Callable[[], Path]) -> None:
    site, spool = streaming, new_folder() / "spool"
    away = site.repository.with_name("away")
    with Receiver(site, spool) as receiver:
        receiver.waits_until_says("receiving WAL")
        site.repository.rename(away)
        names = [finish_segment(site.cluster) for _each in range(3)]
        receiver.waits_until_says("repository_missing")
        wait_until(lambda: set(names) <= set(receiver.status()["waiting_segments"]), "they waited in the spool")
        assert set(names) <= {path.name for path in (spool / "pg_wal").iterdir()}
        away.rename(site.repository)
        wait_until(lambda: set(names) <= archived(site.repository), "it caught up")
        receiver.waits_until_says("works again")
        site.config_file.touch()
        assert receiver.process.wait(60) == 0  # as after an upgrade: systemd starts it anew


def test_both_ways_together_make_one_object_each(bare_site: Site, new_folder: Callable[[], Path]) -> None:
    site = bare_site
    site.play(task("pitr_configure", restart=True, archive_timeout=0))
    with Receiver(site, new_folder() / "spool") as receiver:
        receiver.waits_until_says("receiving WAL")
        for _each in range(3):
            finish_segment(site.cluster)
        newest = site.archive_everything()
        wait_until(lambda: (receiver.status()["shipped"] or {}).get("segment") == newest, "the receiver had it too")
        there = [Path(name).name.rpartition("-")[0] for name in objects(site.repository) if "/wal/" in name]
        assert len(there) == len(set(there))
        assert site.cluster.sql("SELECT failed_count FROM pg_stat_archiver") == [(0,)]


def test_commits_that_would_hang_are_refused(streaming: Site, new_folder: Callable[[], Path]) -> None:
    site, spool = streaming, new_folder() / "spool"
    arguments = ("receive", "--wal-method", "stream", "--spool", spool, "--slot", SLOT)
    with site.cluster.connect() as before:  # its own commits wait for nobody
        before.execute("SET synchronous_commit = local")
        site.cluster.sql("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (other, LIFEBOAT_main)'")
        site.cluster.reload()
        said = site.command_refused("receiver_would_hang_commits", *arguments)
        assert "synchronous: true" in said
        before.execute("ALTER SYSTEM SET synchronous_commit = 'remote_apply'")
        site.cluster.reload()
        before.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        site.cluster.reload()
        site.command_refused("receiver_would_hang_commits", *arguments, "--synchronous", "true")


def test_no_acknowledged_commit_is_missing_in_a_synchronous_spool(
    streaming: Site, new_folder: Callable[[], Path], new_place: Callable[[], Cluster]
) -> None:
    """The whole primary is killed under load; nothing is shipped but what the spool has."""
    site, spool = streaming, new_folder() / "spool"
    site.cluster.sql("CREATE TABLE acknowledged (n int)")
    acknowledged = 0
    with Receiver(site, spool, "--synchronous", "true") as receiver:
        receiver.waits_until_says("receiving WAL")
        site.cluster.set(synchronous_standby_names=SLOT)
        with contextlib.closing(site.cluster.connect()) as session:
            for n in range(1, 201):
                session.execute("INSERT INTO acknowledged VALUES (%s)", (n,))
                acknowledged = n
        site.cluster.kill()
        receiver.waits_until_says("server_not_reachable")
        assert receiver.stop() == 0
    place = new_place()
    site.module("pg_restore", destination=place.data_directory, port=place.port, socket_directory=place.socket_dir)
    assert [(n,) for n in range(1, acknowledged + 1)] == orders_of(place)


def test_a_full_spool_is_said_and_loses_nothing(streaming: Site, new_folder: Callable[[], Path]) -> None:
    if os.geteuid() != 0:
        cannot_be_had("mounting a small file system takes root")
    site, spool, user = streaming, server_folder(new_folder() / "spool"), server_user()
    away = site.repository.with_name("away")
    run(["mount", "-t", "tmpfs", "-o", f"size=40m,uid={user.pw_uid},gid={user.pw_gid}", "lifeboat-test", spool])
    try:
        with Receiver(site, spool) as receiver:
            receiver.waits_until_says("receiving WAL")
            site.repository.rename(away)
            names = [finish_segment(site.cluster) for _each in range(4)]
            receiver.waits_until_says("spool_full")
            away.rename(site.repository)
            wait_until(lambda: set(names) <= archived(site.repository), "all of it came")
    finally:
        run(["umount", "--lazy", spool])
