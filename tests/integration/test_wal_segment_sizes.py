# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters whose WAL segments are not of 16 MiB go the same road."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import DATABASE, Cluster, Postgres, free_port, server_folder
from harness.playbooks import Ansible
from main_road import judge_restored, make_both
from support import Site, task


@pytest.fixture(params=[1, 64], ids=lambda size: f"{size}MiB")
def site_with_segments(
    request: pytest.FixtureRequest, postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path]
) -> Iterator[Site]:
    """A site of its own."""
    folder = new_folder()
    cluster = postgres.adopt(folder / "data", free_port(), server_folder(folder / "s", 0o700))
    options = ("--username", "postgres", "--auth", "trust", "--no-sync", "--data-checksums")
    postgres.run("initdb", "--pgdata", cluster.data_directory, *options, "--wal-segsize", str(request.param))
    cluster.write_own_settings()
    with cluster:
        cluster.sql(f"CREATE DATABASE {DATABASE}", db="postgres")
        cluster.run("pgbench", "--initialize", "--quiet", DATABASE)
        site = Site(ansible, cluster, new_folder())
        site.play(
            site.agent_task,
            task("pg_backup_repository", create_key=True),
            task("pitr_configure", restart=True, archive_timeout=0),
        )
        ((size,),) = cluster.sql("SELECT setting::int FROM pg_settings WHERE name = 'wal_segment_size'")
        assert size == request.param << 20
        yield site


def test_the_main_road(site_with_segments: Site, new_place: Callable[[], Cluster]) -> None:
    site = site_with_segments
    _full, incremental = make_both(site)
    judge_restored(site, incremental, new_place())
    info = site.module("pg_backup_info")
    assert [window["missing_segments"] for window in info["windows"]] == [[], []]
