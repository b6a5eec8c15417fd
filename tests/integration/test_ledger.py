# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery shows exactly the commits before PostgreSQL's stopping record, whatever happened to the cluster (I10).

The ledger and its loop are in tests/torture. `make torture` lets it go on for MINUTES; SEED=N repeats what a failure
has shown, as far as a machine can: how many transactions there are between two events is up to it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import DATABASE, Cluster, Postgres, free_port, main_version, server_folder
from harness.playbooks import Ansible
from support import Site, summarizing, task
from torture.ledger import Ledger
from torture.ledger_events import Scene
from torture.ledger_trials import Trials, keep_the_ledger
from torture.ledger_writers import CREATE, MOST_PREPARED, TABLE

SEED = int(os.environ.get("SEED") or 1)
MINUTES = float(os.environ.get("MINUTES") or 0)
RESTORES = 50


@pytest.fixture
def scene(postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path]) -> Iterator[Scene]:
    """A small cluster with small segments, a backup of it, and its ledger."""
    folder = new_folder()
    cluster = postgres.adopt(folder / "data", free_port(), server_folder(folder / "s", 0o700))
    options = ("--username", "postgres", "--auth", "trust", "--no-sync", "--data-checksums", "--wal-segsize", "1")
    postgres.run("initdb", "--pgdata", cluster.data_directory, *options)
    with (cluster.data_directory / "postgresql.conf").open("a") as configuration:
        configuration.write(
            f"max_prepared_transactions = {MOST_PREPARED}\nwal_keep_size = '2GB'\nmax_wal_size = '64MB'\n"
            "shared_buffers = '16MB'\nlog_line_prefix = '%m [%p] '\n"
            "fsync = off\n"  # servers are killed here, no machine is: the next one sees what the kernel has
        )
    cluster.write_own_settings()
    with cluster:
        cluster.sql(f"CREATE DATABASE {DATABASE}", db="postgres")
        cluster.sql("UPDATE pg_database SET datistemplate = false", db="postgres")
        for unused in ("template0", "template1"):  # half of what every restore would write
            cluster.sql(f"DROP DATABASE {unused}", db="postgres")
        cluster.sql(CREATE)
        site = Site(ansible, cluster, new_folder())
        site.play(
            site.agent_task,
            task("pg_backup_repository", create_key=True),
            task("pitr_configure", restart=True, archive_timeout=0, **summarizing(postgres.major)),
        )
        made = Scene(site, Ledger(cluster, TABLE), random.Random(SEED))
        made.note_backup(made.lifeboat("backup"))
        yield made


@pytest.mark.timeout(MINUTES * 60 + 900)
@pytest.mark.every_version
def test_exactly_what_was_committed_before_the_target(
    scene: Scene, postgres: Postgres, new_place: Callable[[], Cluster]
) -> None:
    main = postgres.major == main_version()
    trials = Trials(scene, new_place)
    deadline = time.monotonic() + MINUTES * 60
    keep_the_ledger(trials, SEED, RESTORES if main else 10, lambda: time.monotonic() < deadline)
    assert set(trials.tried) >= {"time", "lsn", "xid", "name", "immediate", "latest", "in place"}
