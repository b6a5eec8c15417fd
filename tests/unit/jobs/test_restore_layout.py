# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Laying out a restored directory: never over data, never startable before it is whole, always to be resumed (I6)."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import expect
import made
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import durable
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import InterruptedJobError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore import layout as restore_layout
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore import writer as restore_writer
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore.layout import MARKER, Layout
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import (
    DirectoryEntry,
    FileEntry,
    Header,
    render_entry,
)
from fakes import Collector
from made_cluster import IDENTIFIER, Cluster

CONTROL = "global/pg_control"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "restored"


def lay_out(cluster: Cluster, header: Header, target: Path, **changes: Any) -> list[str]:
    layout = Layout(target, {}, {"archive_mode": "off"}, jobs=2)
    return restore_writer.lay_out(cluster.stanza, cluster.archive, header, replace(layout, **changes), Collector())


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- what is written


def test_a_restored_directory_has_what_the_cluster_had_and_what_a_recovery_needs(
    cluster: Cluster, target: Path
) -> None:
    header = cluster.back_up()
    lay_out(cluster, header, target)
    restored, original = everything_in(target), everything_in(cluster.data)
    assert {name: restored[name] for name in ("base/1/1259", "PG_VERSION", "postgresql.conf", CONTROL)} == {
        name: original[name] for name in ("base/1/1259", "PG_VERSION", "postgresql.conf", CONTROL)
    }
    assert restored["backup_label"].decode() == header.backup_label
    assert restored["recovery.signal"] == b""
    assert restored["postgresql.auto.conf"].endswith(b"archive_mode = 'off'\n")
    assert restored["pg_wal/000000010000000000000002"] == b"segment 2"
    assert target.stat().st_mode & 0o777 == 0o700
    assert MARKER not in restored


def test_postgres_own_manifest_lists_every_file_once(cluster: Cluster, target: Path) -> None:
    lay_out(cluster, cluster.back_up(), target)
    listed = [file["Path"] for file in json.loads((target / "backup_manifest").read_text())["Files"]]
    there = set(everything_in(target)) - {"backup_manifest", "recovery.signal"}
    assert sorted(listed) == sorted(name for name in there if not name.startswith("pg_wal/"))


def test_configuration_of_another_place_comes_along_without_its_places(cluster: Cluster, target: Path) -> None:
    elsewhere = cluster.data.parent / "etc"
    (elsewhere / "conf.d").mkdir(parents=True)
    (elsewhere / "postgresql.conf").write_text(
        f"data_directory = '{cluster.data}'\nport = 5444\ninclude_dir = 'conf.d'\n"
    )
    (elsewhere / "conf.d/more.conf").write_text("work_mem = '8MB'\n")
    cluster.config_directory = elsewhere
    cluster.connection.answers["listing the server's configuration files"] = [(str(elsewhere / "conf.d/more.conf"),)]
    lay_out(cluster, cluster.back_up(), target)
    assert (target / "conf.d/more.conf").read_text() == "work_mem = '8MB'\n"
    lines = (target / "postgresql.conf").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == ["port = 5444", "include_dir = 'conf.d'"]


def test_tablespaces_go_to_their_new_places(cluster: Cluster, target: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "PG_15_202209061/5").mkdir(parents=True)
    (old / "PG_15_202209061/5/16390").write_text("in the tablespace")
    (cluster.data / "pg_tblspc/16385").symlink_to(old)
    header = cluster.back_up()
    assert header.tablespaces == {"16385": str(old)}
    lay_out(cluster, header, target, tablespaces={"16385": new})
    assert os.readlink(target / "pg_tblspc/16385") == str(new)
    assert (new / "PG_15_202209061/5/16390").read_text() == "in the tablespace"
    assert not (target / "tablespace_map").exists()


@pytest.mark.parametrize("path", ["../outside", "/etc/outside", "base/../../outside"])
def test_a_manifest_cannot_lead_outside(cluster: Cluster, target: Path, path: str) -> None:
    outside = target.parent / "outside"
    for entry in (DirectoryEntry(path, 0o700), FileEntry(path, 0, 0, 0o600)):
        header = made.header(backup_id=f"bad{type(entry).__name__}", incarnation=cluster.life.incarnation)
        cluster.stanza.publish(header, [render_entry(entry)])
        with expect.failure("path_invalid"):
            lay_out(cluster, header, target)
        assert not outside.exists()


# --- when it ends too early


def test_the_control_file_is_the_last_thing_before_the_marker_goes(
    cluster: Cluster, target: Path, durability: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    header = cluster.back_up()
    durability.clear()
    monkeypatch.setattr(Path, "unlink", lambda path, missing_ok=False: durability.append(f"remove {path.name}"))
    lay_out(cluster, header, target)
    first, last = (
        durability.index(f"rename temporary {MARKER} to {MARKER}"),
        durability.index("sync temporary pg_control"),
    )
    assert first < durability.index("sync 1259") < last
    assert durability[last:] == [
        "sync temporary pg_control",
        "rename temporary pg_control to pg_control",
        "sync global",
        f"remove {MARKER}",
        "sync restored",
    ]
    files = {Path(name).name for name in everything_in(cluster.data)} - {"pg_control"}
    assert files <= {each.removeprefix("sync ").removeprefix("temporary ") for each in durability[first:last]}


@pytest.mark.parametrize("step", ["files", "wal", "settings", "finish"])
def test_a_directory_that_is_not_finished_cannot_be_started_and_can_be_gone_on_with(
    cluster: Cluster, target: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    header = cluster.back_up()

    def fail(*_ignored: object) -> None:
        raise InterruptedJobError("restoring", "it was stopped.", "Go on.", code="interrupted")

    with monkeypatch.context() as patch, expect.failure("interrupted"):
        patch.setattr(restore_writer._Writer, step, fail)
        lay_out(cluster, header, target)
    assert (target / MARKER).exists()
    assert not (target / CONTROL).exists()
    (target / "left over").write_text("from the first attempt")
    restore_layout.require_usable_directory(target, IDENTIFIER, delta=False)
    lay_out(cluster, header, target)
    assert (target / CONTROL).exists()
    assert not (target / MARKER).exists()
    assert not (target / "left over").exists()


def test_missing_wal_is_told_before_the_directory_could_be_started(cluster: Cluster, target: Path) -> None:
    header = replace(cluster.back_up(), stop_lsn=5 * made.SEGMENT_BYTES)
    with expect.failure("wal_gap"):
        lay_out(cluster, header, target)
    assert not (target / CONTROL).exists()


# --- where it may write


def test_a_new_or_empty_directory_is_taken(target: Path) -> None:
    restore_layout.require_usable_directory(target, IDENTIFIER, delta=False)
    target.mkdir()
    restore_layout.require_usable_directory(target, IDENTIFIER, delta=False)


def test_data_is_never_written_over(cluster: Cluster) -> None:
    with expect.failure("directory_not_empty"):
        restore_layout.require_usable_directory(cluster.data, IDENTIFIER, delta=False)
    restore_layout.require_usable_directory(cluster.data, IDENTIFIER, delta=True)
    with expect.failure("directory_of_another_cluster"):
        restore_layout.require_usable_directory(cluster.data, IDENTIFIER + 1, delta=True)


@pytest.mark.parametrize("delta", [True, False])
@pytest.mark.parametrize("marked", [True, False])
def test_a_running_servers_directory_is_never_written_to(cluster: Cluster, delta: bool, marked: bool) -> None:
    (cluster.data / "postmaster.pid").write_text(f"{os.getpid()}\n")
    if marked:
        (cluster.data / MARKER).write_text("{}")
    with expect.failure("directory_in_use"):
        restore_layout.require_usable_directory(cluster.data, IDENTIFIER, delta=delta)


def test_a_file_is_no_directory(target: Path) -> None:
    target.write_text("")
    with expect.failure("directory_not_usable"):
        restore_layout.require_usable_directory(target, IDENTIFIER, delta=False)


def test_too_little_space_is_told_first(target: Path) -> None:
    restore_layout.require_space(target / "not/there/yet", 1)
    with expect.failure("not_enough_space"):
        restore_layout.require_space(target / "not/there/yet", 1 << 60)


# --- tablespaces


HEADER = made.header(tablespaces={"16385": "/srv/fast"})


def mapped(target: Path, mapping: dict[str, str], root: Path | None = None, delta: bool = False) -> dict[str, Path]:
    return restore_layout.map_tablespaces(HEADER, target, mapping, root, delta=delta)


def test_each_tablespace_gets_a_place(target: Path, tmp_path: Path) -> None:
    assert mapped(target, {"/srv/fast": "/srv/new", "/unused": "/x"}) == {"16385": Path("/srv/new")}
    assert mapped(target, {}, tmp_path / "root") == {"16385": tmp_path / "root/16385"}
    with expect.failure("tablespace_not_mapped") as failure:
        mapped(target, {"/srv/other": "/srv/new"})
    assert failure.value.details["tablespace"] == "/srv/fast"


def test_a_place_with_something_in_it_is_refused_unless_it_is_this_restores_own(target: Path, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    assert mapped(target, {"/srv/fast": str(place)})
    (place / "data").write_text("of somebody else")
    with expect.failure("directory_not_empty"):
        mapped(target, {"/srv/fast": str(place)})
    with expect.failure("directory_not_empty"):
        mapped(target, {"/srv/fast": str(place / "data")})
    target.mkdir()
    (target / MARKER).write_text(json.dumps({"backup": "b", "tablespaces": [str(place)]}))
    assert mapped(target, {"/srv/fast": str(place)}) == {"16385": place}


def test_brought_back_in_place_they_stay_where_the_links_lead(target: Path, tmp_path: Path) -> None:
    (target / "pg_tblspc").mkdir(parents=True)
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved/data").write_text("of this cluster")
    (target / "pg_tblspc/16385").symlink_to(tmp_path / "moved")
    assert mapped(target, {}, delta=True) == {"16385": tmp_path / "moved"}
    with expect.failure("tablespace_not_mapped"):
        mapped(target, {})


def test_the_control_file_comes_from_the_header(cluster: Cluster, target: Path) -> None:
    control = made.control_bytes({48: ("<I", 7)})
    header = replace(cluster.back_up(), control_file=base64.b64encode(control).decode())
    lay_out(cluster, header, target)
    assert (target / CONTROL).read_bytes() == control
    assert durable.temporary_beside(target / CONTROL).parent == target / "global"
