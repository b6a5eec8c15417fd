# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Incremental backups: what they store, what they skip, what a full one finds out, and that each restores by itself."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Cluster
from support import Result, Site, assert_refused, task

Backup = dict[str, Any]


@pytest.fixture
def archiving_site(bare_site: Site) -> Site:
    """A site of the test's own that archives and has one full backup, made after the last change's second."""
    site = bare_site
    site.play(task("pitr_configure", restart=True))
    site.cluster.sql(
        "CREATE TABLE big AS SELECT g AS n, 0 AS changes, repeat(md5(g::text), 4) AS filler"
        " FROM generate_series(1, 100000) g"
    )
    site.cluster.sql("ALTER TABLE big ADD PRIMARY KEY (n)")
    site.cluster.sql("VACUUM big")
    site.cluster.sql("CHECKPOINT")
    site.cluster.sql("SELECT pg_sleep(1.1)")  # files written in the second of a backup's start are never skipped
    site.module("pg_backup")
    return site


def backup(site: Site, **options: Any) -> Backup:
    """Make one after the server has written everything out."""
    site.cluster.sql("CHECKPOINT")
    made: Backup = site.module("pg_backup", **options)["backup"]
    return made


def restored_total(site: Site, backup_id: str) -> Result:
    """Prove a backup by restoring it and looking at the rows that the test changes."""
    ((total,),) = site.cluster.sql("SELECT sum(changes) FROM big")
    return site.module(
        "backup_verify",
        backup=backup_id,
        level="restore",
        assertions=[
            {"name": "changes", "database": "app", "query": "SELECT sum(changes) FROM big", "equals": str(total)},
            {"name": "rows", "database": "app", "table": "big", "equals": "100000"},
        ],
    )


def test_stores_what_changed_and_restores_by_itself(archiving_site: Site) -> None:
    site = archiving_site
    full, *_nothing = site.module("pg_backup_info")["backups"]
    assert full["type"] == "full"

    site.cluster.sql("UPDATE big SET changes = changes + 1 WHERE n % 1000 = 0")
    first = backup(site)
    assert (first["type"], first["parent"], first["generation"]) == ("incremental", full["id"], full["id"])
    assert first["bytes"] >= full["bytes"]
    assert first["stored_bytes"] < full["stored_bytes"] / 10

    site.cluster.sql("UPDATE big SET changes = changes + 1 WHERE n % 777 = 0")
    second = backup(site)
    assert second["parent"] == first["id"]
    site.module("backup_verify", backup=full["id"])
    restored_total(site, second["id"])


def test_nothing_changed_stores_nothing(archiving_site: Site) -> None:
    site = archiving_site
    backup(site)
    site.cluster.sql("SELECT pg_sleep(1.1)")
    backup(site)
    site.cluster.sql("SELECT pg_sleep(1.1)")
    unchanged = site.module("pg_backup")["backup"]  # no checkpoint of ours: the backup makes its own
    assert unchanged["stored_bytes"] < 200_000  # the few files that every checkpoint writes


def test_relations_that_shrink_grow_and_vanish(archiving_site: Site) -> None:
    site = archiving_site
    site.cluster.sql("CREATE TABLE gone AS SELECT * FROM big")
    backup(site)
    site.cluster.sql("DROP TABLE gone")
    site.cluster.sql("DELETE FROM big WHERE n > 50000")
    site.cluster.sql("VACUUM big")
    backup(site)
    site.cluster.sql("INSERT INTO big SELECT g, 3, repeat(md5((g * 7)::text), 4) FROM generate_series(50001, 100000) g")
    restored_total(site, backup(site)["id"])


def test_types(archiving_site: Site) -> None:
    site = archiving_site
    first = site.module("pg_backup_info")["backups"][0]
    assert backup(site, type="incremental")["generation"] == first["id"]
    new = backup(site, type="full")
    assert (new["type"], new["parent"], new["generation"]) == ("full", "", new["id"])
    assert backup(site)["generation"] == new["id"]
    assert backup(site, full_every=0)["type"] == "full"
    predicted = site.play(task("pg_backup", check=True))[0]
    assert (predicted["changed"], predicted["type"], predicted["backup"]) == (True, "incremental", {})


def test_incremental_without_a_full_is_refused(bare_site: Site) -> None:
    bare_site.play(task("pitr_configure", restart=True))
    bare_site.refused("no_parent_backup", "pg_backup", type="incremental")
    assert bare_site.backup_ids() == []


def test_full_finds_what_skipping_would_miss(archiving_site: Site) -> None:
    """Something changes a file behind the server's back, and puts size and time back."""
    site = archiving_site
    ((path,),) = site.cluster.sql("SELECT pg_relation_filepath('big_pkey')")
    file = site.cluster.data_directory / path
    before = file.stat()
    with file.open("r+b") as stream:
        stream.seek(8192 * 40 + 4000)
        stream.write(b"behind the server's back")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    result = site.play(task("pg_backup", type="full"), fails=True)[0]
    assert_refused("unnoticed_changes", {**result, "changed": False})
    assert path in result["happened"]
    assert site.backup_ids()[-1] == result["details"]["backup"], "the full backup itself is good, and stays"


def test_damaged_page_is_reported_and_can_be_refused(archiving_site: Site) -> None:
    site = archiving_site
    ((path,),) = site.cluster.sql("SELECT pg_relation_filepath('big')")
    with (site.cluster.data_directory / path).open("r+b") as stream:
        stream.seek(8192 * 7 + 5000)
        stream.write(b"rot")
    site.refused("pages_damaged", "pg_backup", damaged_pages="fail")
    result = site.module("pg_backup")
    assert result["damaged_pages"] == [f"{path} block 7"]
    assert result["backup"]["damaged_pages"] == 1


def test_rate_is_held(archiving_site: Site, new_place: Callable[[], Cluster]) -> None:
    """What is asked for reaches the engine: at a crawl, the deadline of the archive is not what ends it."""
    site = archiving_site
    made = site.module("pg_backup", type="full", max_rate=500, low_priority=True)["backup"]
    place = new_place()
    result = site.module(
        "pg_restore", destination=place.data_directory, start=False, max_rate=500, low_priority=True, backup=made["id"]
    )
    assert result["backup"]["id"] == made["id"]
    assert Path(place.data_directory, "PG_VERSION").exists()
