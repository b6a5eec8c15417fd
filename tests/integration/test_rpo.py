# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is lost when a primary's host is lost under load: never one commit between others.

How much at the end is measured and kept in build/rpo-*.json, and not asserted: it is a matter of time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from harness import BUILD, Cluster
from receiving import Receiver, partials
from support import Site, objects, task
from test_wal_background import background_of

_INTERVAL, _ARCHIVE_TIMEOUT = 0.4, 2
_COMMITS_AT_THE_END = 300


def commits_until(cluster: Cluster, enough: Callable[[], bool]) -> list[float]:
    """Commit numbered rows, until that is so and for a while longer; when each was acknowledged."""
    cluster.sql("CREATE TABLE acknowledged (n int)")
    times: list[float] = []
    with contextlib.closing(cluster.connect()) as session:
        last = None
        while last is None or len(times) < last:
            session.execute("INSERT INTO acknowledged VALUES (%s)", (len(times),))
            times.append(time.monotonic())
            if last is None and len(times) % 20 == 0 and enough():
                last = len(times) + _COMMITS_AT_THE_END
    return times


def judge(site: Site, place: Cluster, times: list[float], name: str, **settings: float) -> None:
    """Restore from what the repository has; keep how much it lacks."""
    site.module("pg_restore", destination=place.data_directory, port=place.port, socket_directory=place.socket_dir)
    restored = [n for (n,) in place.sql("SELECT n FROM acknowledged ORDER BY n")]
    assert restored == list(range(len(restored)))
    assert restored, "nothing of what was shipped came back"
    # one that was never acknowledged may have been written, too
    lost = max(0.0, times[-1] - times[min(restored[-1], len(times) - 1)])
    found = {**settings, "commits": len(times), "lost_commits": len(times) - len(restored), "lost_seconds": lost}
    (BUILD / f"rpo-{name}.json").write_text(json.dumps(found, indent=1) + "\n")


def test_with_a_receiver_the_last_partials_are_there(
    streaming: Site, new_folder: Callable[[], Path], new_place: Callable[[], Cluster]
) -> None:
    site, spool, seen = streaming, new_folder() / "spool", set[tuple[str, int]]()

    def enough() -> bool:
        seen.update(partials(objects(site.repository)))
        return len(seen) > 4

    with Receiver(site, spool) as receiver:  # on the host that is lost
        receiver.waits_until_says("receiving WAL")
        times = commits_until(site.cluster, enough)
        receiver.kill()
        site.cluster.kill()
    judge(site, new_place(), times, "stream", partial_interval=_INTERVAL)


def test_with_archive_command_the_last_segments_are_there(bare_site: Site, new_place: Callable[[], Cluster]) -> None:
    site = bare_site
    site.play(task("pitr_configure", restart=True, archive_timeout=_ARCHIVE_TIMEOUT), task("pg_backup"))
    before = len(list(objects(site.repository)))
    times = commits_until(site.cluster, lambda: len(list(objects(site.repository))) > before + 2)
    for process in background_of(site.cluster, "archive-pusher"):
        os.kill(process, signal.SIGKILL)
    site.cluster.kill()
    judge(site, new_place(), times, "archive", archive_timeout=_ARCHIVE_TIMEOUT)
