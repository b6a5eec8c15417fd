# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single files out of a physical backup, by their path, and nothing else touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from harness import Cluster, server_folder, server_user
from support import Site, assert_refused, task, tree


def files(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_files_are_those_of_a_whole_restore(
    site: Site, new_place: Callable[[], Cluster], new_folder: Callable[[], Path]
) -> None:
    ((orders,),) = site.cluster.sql("SELECT pg_relation_filepath('orders')")
    whole, folder = new_place().data_directory, new_folder()
    kept = folder / "other"
    kept.write_text("of somebody")
    asked = ["postgresql.conf", orders, f"{orders}_*", "global/pg_control", "pg_xact", "./**/PG_VERSION"]
    predicted, made, again, _whole = site.play(
        task("pg_restore", destination=folder, files=asked, check=True),
        task("pg_restore", destination=folder, files=asked),
        task("pg_restore", destination=folder, files=asked),
        task("pg_restore", destination=whole, start=False),
    )
    restored = files(folder) - {"other"}
    assert restored >= {"postgresql.conf", orders, f"{orders}_fsm", "global/pg_control", "pg_xact/0000", "PG_VERSION"}
    assert {path.rpartition("/")[2] for path in restored if path.startswith("base/1/")} == {"PG_VERSION"}
    assert predicted["restored_files"] == made["restored_files"] == sorted(restored)
    assert (predicted["changed"], made["changed"], again["changed"]) == (True, True, False)
    assert again["unchanged_files"] == sorted(restored)
    for path in restored:
        assert (folder / path).read_bytes() == (whole / path).read_bytes(), path
        assert (folder / path).stat().st_uid == server_user().pw_uid
        assert (folder / path).stat().st_mode == (whole / path).stat().st_mode, path
    assert kept.read_text() == "of somebody"


def test_what_cannot_be_is_refused_and_nothing_is_written(
    site: Site, clone: Callable[[str], Cluster], new_folder: Callable[[], Path]
) -> None:
    folder, running = new_folder(), clone("running")
    occupied = server_folder(folder / "occupied")
    (occupied / "pg_hba.conf").write_text("edited since")
    server_folder(folder / "new")
    below = server_folder(running.data_directory / "below")
    before, configuration = tree(folder), (running.data_directory / "postgresql.conf").read_text()
    results = site.play(
        task("pg_restore", destination=folder / "new", files=["postgresql.conf", "postgressql.con"]),
        task("pg_restore", destination=folder / "new", files=["../outside"]),
        task("pg_restore", destination=folder / "new", files=["/etc/passwd"]),
        task("pg_restore", destination=occupied, files=["PG_VERSION", "pg_hba.conf"]),
        task("pg_restore", destination=running.data_directory, files=["postgresql.conf"]),
        task("pg_restore", destination=below, files=["postgresql.conf"]),
        fails=True,
    )
    codes = ["file_not_in_backup", "path_invalid", "path_invalid", "file_in_the_way", *["directory_in_use"] * 2]
    for code, result in zip(codes, results):
        assert_refused(code, result)
    assert results[0]["details"]["nearest"][0] == "postgresql.conf"
    assert "postgresql.conf" in results[0]["msg"]
    assert tree(folder) == before
    assert (running.data_directory / "postgresql.conf").read_text() == configuration
    assert list(below.iterdir()) == []


def test_on_the_host(site: Site, new_folder: Callable[[], Path]) -> None:
    folder = new_folder()
    options = ("restore", "--destination", folder, "--file", "pg_hba.conf", "--file", "pg_multixact/*")
    done = json.loads(site.lifeboat(*options, "--json").stdout)
    assert set(done["restored_files"]) == files(folder) >= {"pg_hba.conf", "pg_multixact/offsets/0000"}
    assert "were there already" in site.lifeboat(*options).stdout
    site.command_refused("file_not_in_backup", "restore", "--destination", folder, "--file", "pg_hba")
