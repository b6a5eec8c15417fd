# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walking a data directory made by hand. Whether the choice is PostgreSQL's own is in the integration tests."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import (
    IntegrityError,
    PreconditionError,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.data_directory import (
    Entry,
    EntryKind,
    Fork,
    RelationSegment,
    relation_segment,
    scan,
)

VERSION_DIRECTORY = "PG_15_202209061"
DIRECTORIES = (
    "base/1",
    "base/5",
    "global",
    "pg_commit_ts",
    "pg_dynshmem",
    "pg_logical/snapshots",
    "pg_multixact/members",
    "pg_multixact/offsets",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat",
    "pg_stat_tmp",
    "pg_subtrans",
    "pg_tblspc",
    "pg_twophase",
    "pg_wal/archive_status",
    "pg_xact",
)


@pytest.fixture
def data(tmp_path: Path, control_bytes: Callable[..., bytes]) -> Path:
    """A data directory of PostgreSQL 15 with hardly anything in it."""
    root = tmp_path / "data"
    for directory in DIRECTORIES:
        (root / directory).mkdir(parents=True)
    (root / "global/pg_control").write_bytes(control_bytes())
    (root / "PG_VERSION").write_text("15\n")
    return root


def put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def files(root: Path, emptied: tuple[str, ...] = ()) -> set[str]:
    return {entry.path for entry in scan(root, emptied) if entry.kind is EntryKind.FILE}


def code_of(root: Path) -> str:
    with pytest.raises((IntegrityError, PreconditionError)) as caught:
        list(scan(root))
    return caught.value.code


def test_an_entry_says_what_is_needed_to_make_it_again(data: Path) -> None:
    put(data, "base/1/1259")
    (data / "base/1/1259").chmod(0o640)
    (data / "base/1").chmod(0o750)
    os.utime(data / "base/1/1259", ns=(1, 1_700_000_000_123_456_789))
    found = {entry.path: entry for entry in scan(data)}
    assert found["base/1/1259"] == Entry(EntryKind.FILE, "base/1/1259", 11, 1_700_000_000_123_456_789, 0o640)
    assert (found["base/1"].kind, found["base/1"].mode, found["base/1"].size) == (EntryKind.DIRECTORY, 0o750, 0)


def test_directories_come_before_their_content_and_the_control_file_not_at_all(data: Path) -> None:
    put(data, "base/1/1259", "global/1260")
    paths = [entry.path for entry in scan(data)]
    assert len(paths) == len(set(paths))
    for position, path in enumerate(paths):
        assert os.path.dirname(path) in ("", *paths[:position])
    assert "global/1260" in paths
    assert "global/pg_control" not in paths


def test_what_the_server_makes_anew_is_left_out(data: Path) -> None:
    excluded = (
        "backup_label",
        "backup_manifest",
        "base/1/pg_internal.init",
        "base/pgsql_tmp/pgsql_tmp12.0",
        "current_logfiles.tmp",
        "lifeboat-recovery.log",
        "global/pg_internal.init.123",
        "pg_replslot/slot/state",
        "pg_stat_tmp/global.stat",
        "pg_subtrans/0000",
        "pg_wal/000000010000000000000001",
        "pg_wal/archive_status/000000010000000000000001.ready",
        "postgresql.auto.conf.tmp",
        "postmaster.opts",
        "postmaster.pid",
        "tablespace_map",
    )
    kept = ("backup_label.old", "base/1/pg_filenode.map", "log/pg.log", "postgresql.auto.conf", "standby.signal")
    put(data, *excluded, *kept)
    assert files(data) == {"PG_VERSION", *kept}
    assert {entry.path for entry in scan(data)} >= {
        "pg_replslot",
        "pg_stat_tmp",
        "pg_subtrans",
        "pg_wal/archive_status",
    }


def test_a_statistics_directory_of_the_users_choice_can_be_emptied(data: Path) -> None:
    put(data, "my_stats/global.stat", "pg_stat/pgstat.stat")
    assert files(data, ("my_stats",)) == {"PG_VERSION", "pg_stat/pgstat.stat"}


def test_of_unlogged_relations_only_the_init_fork_is_kept(data: Path) -> None:
    unlogged = ("base/5/100", "base/5/100.1", "base/5/100_fsm", "base/5/100_vm")
    kept = ("base/5/100_init", "base/5/1001", "base/5/10", "base/1/100", "global/100", "base/5/100_other")
    put(data, *unlogged, *kept)
    assert files(data) == {"PG_VERSION", *kept}


def test_temporary_relations_are_left_out_where_relations_are(data: Path) -> None:
    put(data, "base/5/t3_100", "base/5/t12_100_fsm", "base/5/t3_100.1", "base/5/t3", "t3_100")
    assert files(data) == {"PG_VERSION", "base/5/t3", "t3_100"}


def test_a_tablespace_is_read_through_its_link_and_for_this_version_only(data: Path, tmp_path: Path) -> None:
    fast = tmp_path / "fast"
    put(fast, f"{VERSION_DIRECTORY}/5/200", f"{VERSION_DIRECTORY}/5/t1_1", "PG_13_202007201/5/300", "lost+found/x")
    (data / "pg_tblspc/16400").symlink_to(fast)
    found = {entry.path: entry for entry in scan(data)}
    assert found["pg_tblspc/16400"].kind is EntryKind.SYMLINK
    assert found["pg_tblspc/16400"].target == str(fast)
    assert {path for path in found if path.startswith("pg_tblspc/16400/")} == {
        f"pg_tblspc/16400/{VERSION_DIRECTORY}",
        f"pg_tblspc/16400/{VERSION_DIRECTORY}/5",
        f"pg_tblspc/16400/{VERSION_DIRECTORY}/5/200",
    }


def test_a_tablespace_in_place_is_a_directory(data: Path) -> None:
    put(data, f"pg_tblspc/16400/{VERSION_DIRECTORY}/5/200")
    found = {entry.path: entry.kind for entry in scan(data)}
    assert found["pg_tblspc/16400"] is EntryKind.DIRECTORY
    assert f"pg_tblspc/16400/{VERSION_DIRECTORY}/5/200" in found


def test_a_tablespace_inside_the_data_directory_is_read_once(data: Path) -> None:
    put(data, f"spaces/fast/{VERSION_DIRECTORY}/5/200")
    (data / "pg_tblspc/16400").symlink_to(data / "spaces/fast")
    assert files(data) == {"PG_VERSION", f"pg_tblspc/16400/{VERSION_DIRECTORY}/5/200"}
    assert "spaces/fast" in {entry.path for entry in scan(data)}


def test_a_tablespace_that_is_not_mounted_is_an_error(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mount_point").mkdir()
    (data / "pg_tblspc/16400").symlink_to(tmp_path / "mount_point")
    assert code_of(data) == "data_directory_incomplete"
    (tmp_path / "mount_point").rmdir()
    assert code_of(data) == "data_directory_incomplete"


def test_a_tablespace_dropped_meanwhile_is_none(data: Path, tmp_path: Path) -> None:
    link = data / "pg_tblspc/16400"
    link.symlink_to(tmp_path / "gone")
    for entry in scan(data):
        if entry.path == "pg_tblspc/16400":
            link.unlink()


def test_a_linked_pg_wal_is_a_directory_that_knows_its_place(data: Path, tmp_path: Path) -> None:
    shutil.move(data / "pg_wal", tmp_path / "wal")
    put(tmp_path, "wal/000000010000000000000001")
    (tmp_path / "wal/summaries").mkdir()
    (tmp_path / "wal").chmod(0o700)
    (data / "pg_wal").symlink_to(tmp_path / "wal")
    found = {entry.path: entry for entry in scan(data) if entry.path.startswith("pg_wal")}
    assert set(found) == {"pg_wal", "pg_wal/archive_status", "pg_wal/summaries"}
    assert (found["pg_wal"].kind, found["pg_wal"].mode) == (EntryKind.DIRECTORY, 0o700)
    assert found["pg_wal"].target == str(tmp_path / "wal")


def test_a_linked_directory_of_the_server_is_read(data: Path, tmp_path: Path) -> None:
    put(data, "base/5/100")
    shutil.move(data / "base", tmp_path / "elsewhere")
    (data / "base").symlink_to(tmp_path / "elsewhere")
    assert "base/5/100" in files(data)


def test_other_links_are_kept_as_links(data: Path, tmp_path: Path) -> None:
    put(tmp_path, "logs/pg.log")
    (data / "log").symlink_to("../logs")
    (data / "dangling").symlink_to("/nowhere")
    links = {entry.path: entry.target for entry in scan(data) if entry.kind is EntryKind.SYMLINK}
    assert links == {"log": "../logs", "dangling": "/nowhere"}
    assert files(data) == {"PG_VERSION"}


def test_sockets_and_pipes_are_left_out(data: Path) -> None:
    os.mkfifo(data / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(data / ".s.PGSQL.5432"))
        assert files(data) == {"PG_VERSION"}


def test_what_vanishes_during_the_walk_is_skipped(data: Path) -> None:
    put(data, "base/1/1", "base/1/2", "base/1/3", "base/5/1")
    found = []
    for entry in scan(data):
        found.append(entry.path)
        if entry.path == "base/1/1":
            (data / "base/1/2").unlink()
            shutil.rmtree(data / "base/5")
    assert "base/1/3" in found
    assert not {"base/1/2", "base/5", "base/5/1"} & set(found)


@pytest.mark.parametrize("directory", ["base", "global", "pg_xact", "pg_tblspc", "pg_wal", "pg_multixact"])
def test_a_missing_directory_of_the_server_is_an_error(data: Path, directory: str) -> None:
    aside = data / directory
    expected = "not_a_data_directory" if directory == "global" else "data_directory_incomplete"
    aside.rename(data / "aside")
    assert code_of(data) == expected
    aside.symlink_to("/nowhere")
    assert code_of(data) == expected


def test_a_directory_of_the_server_that_vanishes_during_the_walk_is_an_error(data: Path) -> None:
    with pytest.raises(IntegrityError) as caught:
        for entry in scan(data):
            if entry.path == "pg_xact":
                (data / "pg_xact").rmdir()
    assert caught.value.code == "data_directory_incomplete"


def test_names_that_are_not_utf_8_come_through(data: Path) -> None:
    (data / os.fsdecode(b"caf\xe9")).write_text("")
    assert os.fsdecode(b"caf\xe9") in files(data)


@pytest.mark.parametrize(
    ("path", "segment"),
    [
        ("base/5/1259", RelationSegment(1663, 5, 1259, Fork.MAIN, 0)),
        ("base/5/1259.3", RelationSegment(1663, 5, 1259, Fork.MAIN, 3)),
        ("base/5/1259_fsm.1", RelationSegment(1663, 5, 1259, Fork.FREE_SPACE_MAP, 1)),
        ("base/5/1259_vm", RelationSegment(1663, 5, 1259, Fork.VISIBILITY_MAP, 0)),
        ("base/5/4294967295_init", RelationSegment(1663, 5, 4294967295, Fork.INIT, 0)),
        ("global/1260", RelationSegment(1664, 0, 1260, Fork.MAIN, 0)),
        (f"pg_tblspc/16400/{VERSION_DIRECTORY}/5/200.1", RelationSegment(16400, 5, 200, Fork.MAIN, 1)),
        ("base/5/pg_filenode.map", None),
        ("base/5/PG_VERSION", None),
        ("base/5/t3_100", None),
        ("base/5/01259", None),
        ("base/5/0", None),
        ("base/5/1259.0", None),
        ("base/5/1259.01", None),
        ("base/5/1259_fsm_1", None),
        ("base/5/1259_old", None),
        ("base/5/1259.1_fsm", None),
        ("base/1259", None),
        ("1259", None),
        ("global/pg_control", None),
        ("pg_xact/0000", None),
        ("pg_multixact/members/1000", None),
        ("pg_tblspc/16400", None),
        ("base/5/sub/1259", None),
        ("base/5/1259\n", None),
    ],
)
def test_relation_files_are_known_by_their_paths(path: str, segment: RelationSegment | None) -> None:
    assert relation_segment(path) == segment


def test_blocks_are_numbered_through_all_segments() -> None:
    segment = relation_segment("base/5/1259.3")
    assert segment is not None
    assert segment.first_block == 3 * 131072
