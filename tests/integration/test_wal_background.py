# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The background of archive_command and restore_command on a real server, and who may archive after a restore."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Cluster, wait_until
from support import Site, objects, start_and_recover, task


def background_of(cluster: Cluster, job: str) -> list[int]:
    """The processes that work in the background for this data directory."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if job.encode() in words and os.fsencode(cluster.data_directory) in words:
            found.append(int(folder.name))
    return found


def fill(cluster: Cluster, segments: int) -> None:
    """Finish this many segments."""
    for number in range(segments):
        cluster.sql("SELECT pg_create_restore_point(%(name)s)", name=f"segment {number}")
        cluster.sql("SELECT pg_switch_wal()")


@pytest.mark.every_version
def test_one_background_archives_dies_comes_again_and_ends_with_its_server(bare_site: Site) -> None:
    site = bare_site
    (configured,) = site.play(task("pitr_configure", restart=True, archive_timeout=0))
    (first,) = background_of(site.cluster, "archive-pusher")
    for descriptor in Path(f"/proc/{first}/fd").iterdir():  # nothing of the server's, and a session of its own
        assert not os.readlink(descriptor).startswith(("pipe:", str(site.cluster.data_directory / "base")))
    assert os.getsid(first) == first
    fill(site.cluster, 5)
    os.kill(first, signal.SIGKILL)
    fill(site.cluster, 5)
    newest = site.archive_everything()
    (second,) = background_of(site.cluster, "archive-pusher")
    assert second != first
    archived = {Path(name).name.rpartition("-")[0] for name in objects(site.repository)}
    numbers = range(int(configured["proven_segment"][8:], 16), int(newest[8:], 16) + 1)
    assert {f"00000001{number:016X}" for number in numbers} <= archived
    ((failures,),) = site.cluster.sql("SELECT failed_count FROM pg_stat_archiver")
    assert failures == 0

    site.cluster.stop()
    wait_until(lambda: not background_of(site.cluster, "archive-pusher"), "the background had ended")


def test_a_restored_cluster_archives_when_it_has_claimed(bare_site: Site, new_place: Callable[[], Cluster]) -> None:
    site = bare_site
    configured, _backup = site.play(task("pitr_configure", restart=True, archive_timeout=0), task("pg_backup"))
    fill(site.cluster, 12)
    site.cluster.sql("CREATE TABLE newest AS SELECT 1 AS n")
    site.archive_everything()
    place = new_place()
    site.module(
        "pg_restore",
        destination=place.data_directory,
        port=place.port,
        socket_directory=place.socket_dir,
        start=False,
    )
    start_and_recover(place)  # every segment by the background, or by the foreground where that was not ready
    assert place.sql("SELECT n FROM newest") == [(1,)]
    wait_until(lambda: not background_of(place, "archive-fetcher"), "the background had ended")
    assert list((place.data_directory / "pg_wal/lifeboat").glob("fetched/*")) == []

    restored = {
        "data_directory": place.data_directory,
        "login_unix_socket": place.socket_dir,
        "login_port": place.port,
        "stanza": "main",
        "archive_timeout": 0,
        "restart": True,
    }
    site.refused("cluster_not_claimed", "pitr_configure", **restored)
    predicted, claimed, again = site.play(
        task("pitr_configure", check=True, claim="timeline", **restored),
        task("pitr_configure", claim="timeline", **restored),
        task("pitr_configure", claim="timeline", **restored),
    )
    assert predicted["changed"] and predicted["diff"] == claimed["diff"]
    assert claimed["incarnation"] == configured["incarnation"] == again["incarnation"]
    assert claimed["proven_segment"].startswith("00000002") and not again["changed"]
    names = list(objects(site.repository))
    assert any("00000002.history-" in name for name in names)
    assert any(claimed["proven_segment"] in name for name in names)
