# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for tests of Lifeboat itself: clusters with Lifeboat set up on them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness import Cluster, Postgres, RunFolder, free_port, server_folder
from harness.playbooks import Ansible
from support import Site, task

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def new_folder(run_folder: RunFolder) -> Callable[[], Path]:
    """Makes folders that belong to the server's user."""
    return lambda: server_folder(run_folder.path / f"f{next(_numbers)}")


@pytest.fixture(scope="session")
def site(postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path]) -> Iterator[Site]:
    """A cluster that archives and has one backup. All tests of a run share it: they may add, not damage."""
    with postgres.clone("site") as cluster:
        made = Site(ansible, cluster, new_folder())
        made.play(
            made.agent_task,
            task("pg_backup_repository", create_key=True),
            task("pitr_configure", restart=True, archive_timeout=0),  # tests say when a segment ends
            task("pg_backup"),
        )
        yield made


@pytest.fixture
def bare_site(cluster: Cluster, ansible: Ansible, new_folder: Callable[[], Path]) -> Site:
    """A cluster of the test's own with the command and an empty repository, not archiving yet."""
    made = Site(ansible, cluster, new_folder())
    made.play(made.agent_task, task("pg_backup_repository", create_key=True))
    return made


@pytest.fixture
def streaming(bare_site: Site) -> Site:
    """A site whose cluster has a claim and a backup, and hands no WAL over by itself any more."""
    bare_site.play(task("pitr_configure", restart=True, archive_timeout=0), task("pg_backup"))
    bare_site.cluster.sql("SELECT pg_create_physical_replication_slot('lifeboat_main', true)")
    bare_site.cluster.set(archive_mode="off")
    bare_site.cluster.restart()
    return bare_site


@pytest.fixture
def new_place(postgres: Postgres, new_folder: Callable[[], Path]) -> Iterator[Callable[[], Cluster]]:
    """Places for restores: clusters whose data directory does not exist yet. They go with the test."""
    with ExitStack() as places:

        def make() -> Cluster:
            folder = new_folder()
            place = postgres.adopt(folder / "data", free_port(), server_folder(folder / "s", 0o700))
            places.callback(place.remove)
            return place

        yield make
