# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing a damaged cluster back in place: only what differs is written, nothing of its WAL is lost."""

from __future__ import annotations

import pytest
from harness import run, server_user
from support import Site, assert_refused, task, tree


@pytest.fixture
def damaged(bare_site: Site) -> Site:
    """A site whose cluster was killed after a backup and more changes, and then damaged."""
    site = bare_site
    site.play(task("pitr_configure", restart=True))
    site.cluster.sql(
        "CREATE TABLE kept AS SELECT g AS n, repeat(md5(g::text), 4) AS filler FROM generate_series(1, 50000) g"
    )
    site.module("pg_backup")
    site.cluster.sql("UPDATE kept SET filler = 'changed' WHERE n % 100 = 0")
    site.cluster.sql("CREATE TABLE later AS SELECT 1 AS n")
    ((path,),) = site.cluster.sql("SELECT pg_relation_filepath('kept')")
    site.archive_everything()
    site.cluster.sql("INSERT INTO later VALUES (2)")
    site.cluster.kill()
    data = site.cluster.data_directory
    (data / "postmaster.pid").unlink()
    with (data / path).open("r+b") as stream:
        stream.seek(8192 * 3)
        stream.write(b"\xff" * 20000)
    for command in (
        ["mkdir", data / "stray"],
        ["cp", data / "PG_VERSION", data / "stray"],
        ["rm", data / "PG_VERSION"],
    ):
        run(command, user=server_user())
    return site


def delta(site: Site, **options: object) -> dict[str, object]:
    """The task's options."""
    return task(
        "pg_restore",
        destination=site.cluster.data_directory,
        delta=True,
        port=site.cluster.port,
        socket_directory=site.cluster.socket_dir,
        **options,
    )


def test_in_place(damaged: Site) -> None:
    site = damaged
    result = site.play(delta(site))[0]
    assert result["running"]
    assert site.cluster.sql("SELECT count(*), count(*) FILTER (WHERE filler = 'changed') FROM kept") == [(50000, 500)]
    # the insert after the last switch was never archived: its WAL is kept beside the cluster
    assert site.cluster.sql("SELECT n FROM later") == [(1,)]
    aside = site.cluster.data_directory.with_name(site.cluster.data_directory.name + ".unarchived-wal")
    assert sorted(path.name for path in aside.iterdir()) == sorted(result["salvaged_wal"])
    assert not (site.cluster.data_directory / "stray").exists()
    site.cluster.stop()
    site.cluster.postgres.run("pg_checksums", "--check", "--pgdata", site.cluster.data_directory)


def test_not_asked_for_it_touches_nothing(damaged: Site) -> None:
    site = damaged
    before = tree(site.cluster.data_directory)
    site.refused("directory_not_empty", "pg_restore", destination=site.cluster.data_directory)
    assert tree(site.cluster.data_directory) == before


def test_a_running_server_is_left_alone(bare_site: Site) -> None:
    site = bare_site
    site.play(task("pitr_configure", restart=True), task("pg_backup"))
    assert_refused("directory_in_use", site.play(delta(site), fails=True)[0])
    assert site.cluster.sql("SELECT 1") == [(1,)]


def test_another_cluster_is_left_alone(damaged: Site) -> None:
    site = damaged
    data = site.cluster.data_directory.with_name("foreign")
    site.cluster.postgres.run("initdb", "--pgdata", data, "--username", "postgres", "--auth", "trust", "--no-sync")
    before = tree(data)
    site.refused("directory_of_another_cluster", "pg_restore", destination=data, delta=True)
    assert tree(data) == before
