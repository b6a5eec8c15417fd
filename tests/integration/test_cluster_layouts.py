# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters that are more than one directory: tablespaces, a linked pg_wal, configuration as Debian keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Cluster, Postgres, run, server_folder, server_user
from harness.playbooks import Ansible
from support import Site, start_and_recover, task, tree


@pytest.fixture(scope="session")
def spread(postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path]) -> Iterator[Site]:
    """A site with its tablespace, WAL and configuration in three other places, and a backup of it."""
    cluster = postgres.clone("spread")
    data, elsewhere = cluster.data_directory, new_folder()
    wal = server_folder(elsewhere / "wal", 0o700)
    run(["cp", "-a", f"{data}/pg_wal/.", wal], user=server_user())
    run(["rm", "-r", data / "pg_wal"])
    run(["ln", "-s", wal, data / "pg_wal"], user=server_user())
    etc = server_folder(elsewhere / "etc")
    server_folder(etc / "conf.d")
    server_folder(etc / "empty.d")  # Debian's is empty at first, and no server starts without it
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (data / name).rename(etc / name)
    with (etc / "postgresql.conf").open("a") as configuration:
        configuration.write(
            f"data_directory = '{data}'\nhba_file = '{etc}/pg_hba.conf'\nident_file = '{etc}/pg_ident.conf'\n"
            "include_dir = 'conf.d'\ninclude_dir = 'empty.d'\n"
        )
    (etc / "conf.d/ours.conf").write_text("work_mem = '7777kB'\n")
    cluster.start(f"-c config_file={etc}/postgresql.conf")
    try:
        tablespace = server_folder(elsewhere / "tablespace", 0o700)
        cluster.sql(f"CREATE TABLESPACE elsewhere LOCATION '{tablespace}'")
        cluster.sql("CREATE TABLE far TABLESPACE elsewhere AS SELECT generate_series(1, 1000) AS n")
        site = Site(ansible, cluster, elsewhere)
        site.play(
            site.agent_task,
            task("pg_backup_repository", create_key=True),
            task("pitr_configure", restart=True),
            task("pg_backup"),
        )
        cluster.sql("INSERT INTO far SELECT generate_series(1001, 1500)")
        site.archive_everything()
        yield site
    finally:
        cluster.remove()


def test_every_part_comes_back_to_the_new_place_only(spread: Site, new_place: Callable[[], Cluster]) -> None:
    original, restored = spread.folder / "tablespace", new_place()
    new_tablespace = restored.data_directory.with_name("tablespace")
    untouched = tree(original)
    made = spread.module(
        "pg_restore",
        destination=restored.data_directory,
        port=restored.port,
        socket_directory=restored.socket_dir,
        tablespace_mapping={str(original): str(new_tablespace)},
        start=False,
    )
    assert made["missing_segments"] == []
    restored.postgres.run("pg_verifybackup", restored.data_directory)
    start_and_recover(restored)
    assert restored.sql("SELECT count(*) FROM far") == [(1500,)]
    assert restored.sql("SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'elsewhere'") == [
        (str(new_tablespace),)
    ]
    restored.sql("INSERT INTO far SELECT 0 FROM generate_series(1, 10000)")
    restored.sql("CHECKPOINT")
    assert tree(original) == untouched
    data = restored.data_directory
    for setting, value in {
        "work_mem": "7777kB",
        "archive_mode": "off",
        "data_directory": str(data),
        "config_file": f"{data}/postgresql.conf",
        "hba_file": f"{data}/pg_hba.conf",
        "ident_file": f"{data}/pg_ident.conf",
    }.items():
        assert restored.sql(f"SHOW {setting}") == [(value,)]
    assert not (data / "pg_wal").is_symlink()


def test_a_proof_leaves_the_original_tablespace_alone(spread: Site, new_place: Callable[[], Cluster]) -> None:
    original, scratch = spread.folder / "tablespace", new_place().socket_dir
    untouched = tree(original)
    counted = {"name": "far", "database": "app", "table": "far", "equals": 1500}
    spread.module("backup_verify", level="restore", scratch_directory=scratch, assertions=[counted])
    assert tree(original) == untouched
    assert list(scratch.iterdir()) == []


def test_a_tablespace_needs_a_new_empty_place(spread: Site, new_place: Callable[[], Cluster]) -> None:
    restored, original = new_place(), str(spread.folder / "tablespace")
    untouched = tree(Path(original))
    destination = restored.data_directory
    refusal = spread.refused("tablespace_not_mapped", "pg_restore", destination=destination)
    assert original in refusal["happened"]
    onto_itself = {original: original}
    spread.refused("directory_not_empty", "pg_restore", destination=destination, tablespace_mapping=onto_itself)
    assert tree(Path(original)) == untouched
    assert not destination.exists()
