# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main road that every cluster must be able to go: backups under write load, a restore, PostgreSQL's judgement."""

from __future__ import annotations

from typing import Any

from harness import Cluster
from judging import judge_before_start, judge_running, judge_stopped
from support import Site, start_and_recover, task
from write_load import WriteLoad, contents


def make_both(site: Site, *, switching: bool = False, **where: Any) -> list[dict[str, Any]]:
    """A full backup and an incremental one while the primary is written to."""
    with WriteLoad(site.cluster, switching=switching) as load:
        load.wait_for()
        made = site.play(
            task("pg_backup", type="full", **where),
            task("pg_backup", type="incremental", **where),
        )
        load.wait_for()
    site.archive_everything()
    full, incremental = [each["backup"] for each in made]
    assert (incremental["parent"], incremental["generation"]) == (full["id"], full["id"])
    assert full["damaged_pages"] == incremental["damaged_pages"] == 0
    return [full, incremental]


def judge_restored(site: Site, backup: dict[str, Any], place: Cluster) -> None:
    """The backup with all WAL that came after it."""
    site.module(
        "pg_restore",
        backup=backup["id"],
        destination=place.data_directory,
        port=place.port,
        socket_directory=place.socket_dir,
        start=False,
    )
    judge_before_start(place)
    start_and_recover(place)
    assert contents(place) == contents(site.cluster)
    judge_running(place)
    judge_stopped(place)
