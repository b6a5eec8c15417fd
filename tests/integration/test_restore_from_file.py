# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps as people's scripts have left them, brought back by the module and the command, whole or not at all."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Cluster, run, server_folder
from support import Site, task

PASSPHRASE = "tea: 4 o'clock ü"


def rows(cluster: Cluster, database: str) -> list[object]:
    """What is in the tables that matter here."""
    found: list[object] = []
    for table in ("orders", "pgbench_branches"):
        found += cluster.sql(
            f"SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {table} t", db=database
        )
    return found + cluster.sql("SELECT indexname FROM pg_indexes WHERE tablename = 'orders' ORDER BY 1", db=database)


@pytest.fixture(scope="module")
def files(site: Site, new_folder: Callable[[], Path]) -> Path:
    """One database, dumped in many ways."""
    folder = server_folder(new_folder() / "dumps", 0o755)
    text = site.cluster.run("pg_dump", "--no-owner", "app").stdout.encode()
    (folder / "plain.gz").write_bytes(gzip.compress(text[:50]) + gzip.compress(text[50:]))
    (folder / "cut.gz").write_bytes(gzip.compress(text[: -len(text) // 3]))
    for form in ("custom", "directory"):
        site.cluster.run("pg_dump", f"--format={form}", f"--file={folder}/{form}", "app")
    options = ("enc", "-aes-256-cbc", "-pbkdf2", "-salt", "-pass", f"pass:{PASSPHRASE}")
    run(["openssl", *options, "-in", folder / "custom", "-out", folder / "encrypted"])
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.mark.parametrize("name", ["plain.gz", "custom", "directory", "encrypted"])
def test_it_comes_back_whatever_it_is_called(site: Site, files: Path, name: str) -> None:
    how = {"kind": "logical", "file": files / name, "target_database": f"from {name}"}
    if name == "encrypted":
        how["file_passphrase"] = PASSPHRASE
    predicted, restored = site.play(task("pg_restore", **how, check=True), task("pg_restore", **how))
    assert predicted["file"] == restored["file"]
    assert (restored["changed"], restored["file"]["layers"]) == (
        True,
        {"plain.gz": ["gzip"], "encrypted": ["openssl"]}.get(name, []),
    )
    assert rows(site.cluster, f"from {name}") == rows(site.cluster, "app")
    assert PASSPHRASE not in json.dumps(restored)


def test_chosen_tables_in_the_place_of_a_database(site: Site, files: Path) -> None:
    site.cluster.sql("CREATE DATABASE chosen ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    site.cluster.sql("ALTER DATABASE chosen SET work_mem TO '7MB'")
    options = (
        "--file",
        files / "plain.gz",
        "--table",
        "orders",
        "--target-database",
        "chosen",
        "--if-exists",
        "replace",
    )
    kept = json.loads(site.lifeboat("restore-dump", *options, "--json").stdout)["kept_old"]
    tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    assert site.cluster.sql(tables, db="chosen") == [("orders",)]
    assert site.cluster.sql("SELECT count(*) FROM orders", db="chosen") == site.cluster.sql(
        "SELECT count(*) FROM orders"
    )
    assert site.cluster.sql(tables, db=kept) == []
    told = "SELECT current_setting('server_encoding'), current_setting('work_mem')"
    assert site.cluster.sql(told, db="chosen") == [("LATIN1", "7MB")]


def test_what_is_not_whole_or_not_ours_leaves_nothing(site: Site, files: Path) -> None:
    (files / "text").write_bytes(b"\x00 nothing of ours")
    new = {"kind": "logical", "target_database": "not to be"}
    for code, how in {
        "dump_truncated": {"file": files / "cut.gz"},
        "foreign_passphrase_missing": {"file": files / "encrypted"},
        "foreign_passphrase_wrong": {"file": files / "encrypted", "file_passphrase": "coffee"},
        "foreign_file_unreadable": {"file": files / "nothing"},
        "form_unsupported": {"file": files / "custom", "tables": ["orders"]},
        "file_is_no_dump": {"file": files / "text"},
        "setting_missing": {"file": files / "custom", "target_database": None},
    }.items():
        site.refused(code, "pg_restore", **{**new, **how})
    site.refused("database_exists", "pg_restore", kind="logical", file=files / "custom", target_database="app")
    assert site.cluster.sql("SELECT count(*) FROM pg_database WHERE datname = 'not to be'") == [(0,)]
