# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores that cannot be: wrong targets, wrong places, missing WAL. Refused before the first byte is written.

Where WAL is missing in the middle, everything before the gap can be reached, and nothing pretends to be behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

from harness import Cluster, run
from support import Site, assert_refused, objects, task, tree


def test_targets_that_cannot_be(site: Site, new_folder: Callable[[], Path]) -> None:
    folder = new_folder()
    new = {"destination": folder / "new"}
    now = datetime.now(timezone.utc)
    before = tree(site.folder)
    cases = {
        "target_in_future": {"target_time": (now + timedelta(hours=1)).isoformat()},
        "target_before_first_backup": {"target_time": (now - timedelta(days=1)).isoformat()},
        "backup_unknown": {"backup": "20260101T000000Z-full-abcdef"},
        "name_invalid": {"backup": "../../other/backups/20260101T000000Z-full-abcdef"},
    }
    results = site.play(
        *(task("pg_restore", **new, **options) for options in cases.values()),
        *(task("backup_verify", **options) for options in cases.values()),
        *(task("pg_restore", **new, target_time=text) for text in ("2026-11-21T14:30:00", "yesterday 14:30")),
        fails=True,
    )
    for code, result in zip([*cases, *cases, *["target_time_invalid"] * 2], results):
        assert_refused(code, result)
    earliest, unknown = results[1], results[2]
    assert earliest["details"]["earliest"] in earliest["msg"]
    assert site.backup_ids()[-1] in unknown["msg"]
    assert "2026-11-21T14:30:00+01:00" in results[-1]["remedy"]
    assert list(folder.iterdir()) == []
    assert tree(site.folder) == before


def test_places_that_are_not_free(site: Site, clone: Callable[[str], Cluster], new_folder: Callable[[], Path]) -> None:
    folder, running = new_folder(), clone("running")
    precious = folder / "precious/data"
    precious.mkdir(parents=True)
    (precious / "the only copy").write_text("of something")
    (folder / "file").write_text("no directory")
    started = "SELECT pg_postmaster_start_time(), count(*) FROM orders"
    before, server_before = tree(folder), running.sql(started)
    results = site.play(
        task("pg_restore", destination=precious),
        task("pg_restore", destination=precious, check=True),
        task("pg_restore", destination=running.data_directory),
        task("pg_restore", destination=site.cluster.data_directory),
        task("pg_restore", destination=folder / "file"),
        task("pg_restore", destination=folder / "new", socket_directory=folder / "missing"),
        task("pg_restore", destination="/lifeboat-test/new"),
        fails=True,
    )
    codes = ["directory_not_empty"] * 2 + ["directory_in_use"] * 2 + ["directory_not_usable"]
    for code, result in zip([*codes, "socket_directory_missing", "restore_write_failed"], results):
        assert_refused(code, result)
    assert tree(folder) == before
    assert not Path("/lifeboat-test").exists()
    assert running.sql(started) == server_before
    running.stop()
    site.refused("directory_not_empty", "pg_restore", destination=running.data_directory)
    running.start()
    assert running.sql("SELECT count(*) FROM orders") == [(5000,)]


def test_a_wal_segment_that_is_missing_in_the_middle(site: Site, new_place: Callable[[], Cluster]) -> None:
    site.cluster.sql("CREATE TABLE IF NOT EXISTS steps (word text)")
    times, segments = {}, []
    for segment in (["before", "still before"], ["lost"], ["behind", "last"]):
        for word in segment:
            site.cluster.sql("INSERT INTO steps VALUES (%(word)s)", word=word)
            times[word] = site.cluster.sql("SELECT clock_timestamp()")[0][0].isoformat()
        segments.append(site.archive_everything())
    gap = segments[1]
    copy = site.folder.with_name(f"{site.folder.name}-gap")
    run(["cp", "-a", site.repository, copy])
    (lost,) = (name for name in objects(copy) if gap in name)
    (copy / lost).unlink()
    damaged = tree(copy)

    info = site.module("pg_backup_info", repository=copy)
    assert info["windows"][-1]["missing_segments"] == [gap]
    reached, stopped, untouched = new_place(), new_place(), new_place()
    latest = task("pg_restore", repository=copy, destination=untouched.data_directory)
    to_latest, before_the_gap, behind_the_gap = site.play(
        latest,
        *(
            task(
                "pg_restore",
                repository=copy,
                destination=place.data_directory,
                port=place.port,
                socket_directory=place.socket_dir,
                target_time=moment,
            )
            for place, moment in ((reached, times["before"]), (stopped, times["behind"]))
        ),
        fails=True,
    )
    assert gap in assert_refused("wal_gap", to_latest)["msg"]
    assert not untouched.data_directory.exists()

    assert not before_the_gap["failed"], before_the_gap
    assert before_the_gap["missing_segments"] == [gap]
    assert reached.sql("SELECT word FROM steps") == [("before",)]

    assert gap in assert_refused("wal_gap", behind_the_gap)["msg"]
    assert not stopped.data_directory.exists()
    assert tree(copy) == damaged
