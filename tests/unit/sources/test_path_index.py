# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last backup's files by path, and the order of the manifest."""

from __future__ import annotations

import random
from pathlib import Path

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres import data_directory
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import (
    DirectoryEntry,
    FileEntry,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.entry_spool import EntrySpool
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.path_index import PathIndex, place


def test_files_are_found_by_path_in_any_order() -> None:
    with PathIndex() as index:
        index.know([FileEntry("b", 1, 0, 0o600, digest="old"), DirectoryEntry("a", 0o700)])
        index.know([FileEntry("b", 2, 0, 0o600, digest="new"), FileEntry("a/\udcff", 3, 0, 0o600)])
        index.know([FileEntry("postgresql.conf", 4, 0, 0o600, area="config")])
        assert index.file("a/\udcff") == FileEntry("a/\udcff", 3, 0, 0o600)
        assert index.file("b") == FileEntry("b", 2, 0, 0o600, digest="new")
        assert [index.file(path) for path in ("a", "c", "postgresql.conf")] == [None, None, None]


def test_lines_come_in_the_order_in_which_a_directory_is_walked(tmp_path: Path) -> None:
    names = [
        "base/1/2",
        "base/1/10",
        "base/1",
        "base",
        "base-x",
        "base/1.x",
        "base/2",
        "Z",
        "base/1/2_fsm",
        "a\udcff",
        "aé",
    ]
    with EntrySpool() as spool, PathIndex() as index:
        for name in random.Random(3).sample(names, len(names)):
            spool.add(index.arrive(name), name.encode("utf-8", "surrogateescape"))
        lines = [line.decode("utf-8", "surrogateescape") for line in spool.lines_of(index.in_order())]
    assert lines == sorted(names, key=lambda path: path.split("/"))
    assert lines == sorted(names, key=place)


def test_of_two_of_one_path_the_later_one_counts() -> None:
    with EntrySpool() as spool, PathIndex() as index:
        spool.add(index.arrive("x"), b"first")
        spool.add(index.arrive("x"), b"second")
        assert list(spool.lines_of(index.in_order())) == [b"second"]


def test_a_number_without_a_line_is_passed_over() -> None:
    with EntrySpool() as spool:
        spool.add(2, b"two")
        assert list(spool.lines_of([1, 2, 3])) == [b"two"]


def test_an_index_that_cannot_be_written_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    with PathIndex() as index:
        index._table.execute("DROP TABLE arrived")
        with expect.failure("temporary_space_exhausted"):
            index.arrive("x")


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("base/1/1259", True),
        ("global/1262", True),
        ("PG_VERSION", True),
        ("pg_wal", True),
        ("pg_wal/archive_status", True),
        ("pg_wal/summaries", True),
        ("pg_wal/000000010000000000000001", False),
        ("pg_wal/archive_status/000000010000000000000001.ready", False),
        ("pg_replslot", True),
        ("pg_replslot/mine", False),
        ("pg_stat_tmp/global.stat", False),
        ("global/pg_control", False),
        ("postmaster.pid", False),
        ("tablespace_map", False),
        ("backup_manifest", False),
        ("base/pgsql_tmp/pgsql_tmp1.0", False),
        ("base/1/pg_internal.init.77", False),
        ("base/1/t3_16384", False),
        ("pg_tblspc/16384/PG_15_202209061/5/t3_16384_fsm", False),
        ("pg_tblspc/16384/PG_15_202209061/5/16384", True),
        ("pg_stat/t3_16384", True),
    ],
)
def test_what_a_server_sends_is_held_to_the_same_rules(path: str, wanted: bool) -> None:
    assert data_directory.belongs(path) is wanted
