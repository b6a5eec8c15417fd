# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup taken from a standby, under the stanza of its primary."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Cluster, Postgres, server_folder, wait_until
from support import Site, task


@pytest.fixture
def standby(bare_site: Site, postgres: Postgres, new_folder: Callable[[], Path]) -> Iterator[tuple[Site, Cluster]]:
    """A site and a streaming standby of its cluster, with the same rows."""
    site = bare_site
    site.play(task("pitr_configure", restart=True, archive_timeout=0))
    folder = new_folder()
    replica = postgres.adopt(folder / "data", site.cluster.port + 1, server_folder(folder / "s", 0o700))
    site.cluster.run("pg_basebackup", "--pgdata", replica.data_directory, "--write-recovery-conf", "--checkpoint=fast")
    replica.write_own_settings()
    with replica:
        site.cluster.sql("CREATE TABLE rows AS SELECT generate_series(1, 1000) AS n")
        wait_until(
            lambda: replica.sql("SELECT to_regclass('rows') IS NOT NULL") == [(True,)], "the standby had the table"
        )
        yield site, replica


def test_backup_from_a_standby(standby: tuple[Site, Cluster]) -> None:
    site, replica = standby
    done = threading.Event()

    def keep_writing() -> None:  # the segment that the backup ends in is ended by the primary, when it is full
        while not done.is_set():
            site.cluster.sql("INSERT INTO rows VALUES (0)")
            site.archive_everything()

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        made = site.module(
            "pg_backup",
            data_directory=replica.data_directory,
            login_unix_socket=replica.socket_dir,
            login_port=replica.port,
        )["backup"]
    finally:
        done.set()
        writer.join()
    assert made["type"] == "full"
    site.cluster.sql("INSERT INTO rows SELECT generate_series(1001, 2000)")
    site.archive_everything()
    ((rows,),) = site.cluster.sql("SELECT count(*) FROM rows")
    site.module(
        "backup_verify",
        level="restore",
        assertions=[{"name": "rows", "database": "app", "table": "rows", "equals": str(rows)}],
    )
