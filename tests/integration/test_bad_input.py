# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new user gets wrong about servers, files and keys: one clear error each, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import PASSWORD_ROLE, Cluster, Postgres, free_port, run, server_folder, server_user
from support import STANZA, Result, Site, Task, assert_refused, task, tree

pytestmark = pytest.mark.one_version

Refused = Callable[..., list[Result]]


@pytest.fixture
def refused(site: Site) -> Refused:
    """Runs tasks that must all fail with this code, and makes sure that afterwards nothing is different."""

    def run_all(code: str, *tasks: Task, **how: Any) -> list[Result]:
        before = (tree(site.folder), site.settings())
        results = site.play(*tasks, fails=True, **how)
        for result in results:
            assert_refused(code, result)
        assert (tree(site.folder), site.settings()) == before
        return results

    return run_all


@pytest.fixture
def stopped(postgres: Postgres) -> Iterator[Cluster]:
    """A cluster whose server does not run. All clones of a run have the same system identifier."""
    cluster = postgres.clone("stopped")
    yield cluster
    cluster.remove()


def on_the_server(**options: Any) -> list[Task]:
    """The two modules that talk to a server, with the same options; the second would change settings."""
    return [task("pg_backup", **options), task("pitr_configure", **options, archive_timeout=33)]


def everything(**options: Any) -> list[Task]:
    """All modules that open a repository, with the same options."""
    restore = task("pg_restore", destination="{{ new }}", **options)
    return [*on_the_server(**options), task("backup_verify", **options), task("pg_backup_info", **options), restore]


@contextlib.contextmanager
def mode(bits: int, *paths: Path) -> Iterator[None]:
    """Another mode for a while."""
    before = [path.stat().st_mode & 0o7777 for path in paths]
    for path in paths:
        path.chmod(bits)
    try:
        yield
    finally:
        for path, bits_before in zip(paths, before):
            path.chmod(bits_before)


# --- The server


def test_a_server_that_is_not_there(refused: Refused, stopped: Cluster, site: Site) -> None:
    port, at_home = free_port(), {"data_directory": stopped.data_directory}
    results = refused(
        "server_not_reachable",
        *on_the_server(**at_home, login_unix_socket=stopped.socket_dir, login_port=stopped.port),
        *on_the_server(login_port=port),
        *on_the_server(login_host="127.0.0.1", login_port=port),
    )
    assert all(str(port) in result["msg"] for result in results[2:])
    before = tree(stopped.data_directory)
    assert "postmaster.pid" not in {Path(path).name for path in before}


def test_a_password_that_is_wrong_or_missing(refused: Refused, site: Site) -> None:
    tcp = {"login_host": "127.0.0.1", "login_port": site.cluster.port, "login_user": PASSWORD_ROLE}
    results = refused("authentication_failed", *on_the_server(**tcp), *on_the_server(**tcp, login_password="s3same"))
    assert all(PASSWORD_ROLE in result["msg"] and "s3same" not in str(result) for result in results)


def test_a_role_or_database_that_does_not_exist(refused: Refused) -> None:
    results = refused(
        "role_or_database_missing", *on_the_server(login_user="nessie"), *on_the_server(login_db="atlantis")
    )
    assert [word in result["msg"] for word, result in zip(("nessie",) * 2 + ("atlantis",) * 2, results)] == [True] * 4


def test_a_role_without_the_privileges(refused: Refused, site: Site) -> None:
    site.cluster.sql("CREATE ROLE weak LOGIN; CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher")
    try:
        refused("role_lacks_privilege", *on_the_server(login_user="weak"), *on_the_server(login_user="watcher"))
        assert site.cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'pg_backup_start'") == [(0,)]
    finally:
        site.cluster.sql("DROP ROLE weak, watcher")


# --- The data directory


def test_another_servers_directory(refused: Refused, site: Site, clone: Callable[[str], Cluster]) -> None:
    other = clone("other")
    identifier = "SELECT system_identifier FROM pg_control_system()"
    assert other.sql(identifier) == site.cluster.sql(identifier)
    copy = other.data_directory.with_name("copy")
    run(["cp", "-a", site.cluster.data_directory, copy], user=server_user())
    refused(
        "server_directory_mismatch",
        *on_the_server(login_unix_socket=other.socket_dir, login_port=other.port),
        *on_the_server(data_directory=other.data_directory, login_port=site.cluster.port),
        # a copy brings the original's postmaster.pid along, which leads to the original's server
        *on_the_server(data_directory=copy),
    )
    assert other.sql("SHOW archive_timeout") == [("0",)]


def test_a_directory_that_cannot_be_read_or_is_none(refused: Refused, new_folder: Callable[[], Path]) -> None:
    folder = new_folder()
    locked, empty = server_folder(folder / "locked", 0o000), server_folder(folder / "empty")
    refused("data_directory_unreachable", *on_the_server(data_directory=folder / "missing"))
    refused("data_directory_not_readable", *on_the_server(data_directory=locked))
    socket = {"login_unix_socket": "/nowhere"}
    refused("server_not_reachable", *on_the_server(data_directory=empty, **socket))
    assert tree(folder) == {str(path): tree(path)[str(path)] for path in (folder, locked, empty)}


def test_a_user_who_is_neither_root_nor_the_owner(site: Site) -> None:
    before = tree(site.folder)
    said = site.command_refused("wrong_user", "backup", user=pwd.getpwnam("nobody"))
    assert "nobody" in said and server_user().pw_name in said
    assert tree(site.folder) == before


# --- The repository


def test_a_repository_that_is_not_there(refused: Refused, new_folder: Callable[[], Path]) -> None:
    folder = new_folder()
    new = folder / "new"
    for missing in (folder / "missing", folder):
        refused("repository_missing", *everything(repository=missing), new=new)
    refused("repository_path_relative", *everything(repository="srv/backups"), new=new)
    refused("repository_scheme_unsupported", *everything(repository="ftp://host/backups"), new=new)
    assert list(folder.iterdir()) == []


def test_a_repository_that_cannot_be_written_or_read(refused: Refused, site: Site) -> None:
    directories = [path for path in site.repository.rglob("*") if path.is_dir()]
    with mode(0o500, site.repository, *directories):
        refused("storage_not_permitted", task("pg_backup"))
    with mode(0o000, site.repository):
        refused("storage_not_permitted", *on_the_server())


def test_a_repository_is_not_made_halfway(
    refused: Refused, site: Site, new_folder: Callable[[], Path], tmp_path: Path
) -> None:
    folder = new_folder()
    new = {"repository": folder / "repository", "key_file": folder / "keys/key"}
    refused("key_file_missing", task("pg_backup_repository", **new))
    refused("key_file_missing", task("pg_backup_repository", key_file=folder / "keys/key", create_key=True))
    refused("key_wrong", task("pg_backup_repository", key_file=other_key(site, folder)))
    (folder / "other.key").unlink()
    unwritable = {**new, "repository": "/proc/repository"}
    refused("storage_not_permitted", task("pg_backup_repository", **unwritable, create_key=True), as_server_user=True)
    assert list(folder.iterdir()) == []


# --- The key


def other_key(site: Site, folder: Path) -> Path:
    """The key of another repository."""
    key = folder / "other.key"
    site.module("pg_backup_repository", repository=folder / "other", key_file=key, create_key=True)
    shutil.rmtree(folder / "other")
    return key


def test_a_key_file_that_is_missing_open_to_others_wrong_or_garbage(
    refused: Refused, site: Site, new_folder: Callable[[], Path]
) -> None:
    folder, segment = new_folder(), next((site.cluster.data_directory / "pg_wal").glob("0*"))
    new = folder / "new"
    garbage, short, roots, readable = (folder / name for name in ("garbage", "short", "roots", "readable"))
    for path in (garbage, short, roots, readable):
        path.write_text("not a key\n" if path == garbage else site.key_file.read_text())
        path.chmod(0o444 if path == readable else 0o400)
        if path != roots:
            os.chown(path, server_user().pw_uid, server_user().pw_gid)
    short.write_text(short.read_text()[:-9] + "\n")
    for code, key in {
        "key_file_missing": folder / "missing",
        "key_file_permissions": readable,
        "key_wrong": other_key(site, folder),
        "key_file_invalid": garbage,
        "key_file_not_readable": roots,
    }.items():
        results = refused(code, *everything(key_file=key), new=new)
        assert all(site.key_file.read_text().split(":")[1][:10] not in str(result) for result in results)
        site.command_refused(code, "archive-push", "--key-file", key, segment)
    refused("key_file_invalid", task("pg_backup_info", key_file=short))
    assert not new.exists()


# --- The configuration


def test_a_configuration_that_does_not_have_the_cluster(refused: Refused, site: Site, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    broken, no_repository = tmp_path / "broken.conf", tmp_path / "no-repository.conf"
    broken.write_text(site.config_file.read_text() + "colour = green\n")
    no_repository.write_text("[cluster main]\nrepository = gone\n")
    (unknown, *_) = refused("cluster_unknown", *everything(cluster="nain"), new=tmp_path / "new")
    assert "nain" in unknown["msg"] and STANZA in unknown["msg"]
    refused("config_missing", *everything(config_file=tmp_path / "missing.conf"), new=tmp_path / "new")
    (broken_result, *_) = refused(
        "config_invalid",
        task("pg_backup_info", config_file=broken),
        task("pg_backup_info", config_file=no_repository),
    )
    assert "colour" in broken_result["msg"]
    refused("stanza_unknown", task("pg_backup", stanza="nobody-knows"))
    refused("name_invalid", task("pg_backup", stanza="../climbing"))


def test_the_on_host_command_that_is_missing_or_does_not_work(
    refused: Refused, site: Site, new_folder: Callable[[], Path]
) -> None:
    folder = new_folder()
    broken = folder / "broken"
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 3\n")
    broken.chmod(0o755)
    missing = {"agent_command": folder / "missing"}
    refused(
        "agent_missing",
        task("pitr_configure", **missing),
        task("pg_restore", **missing, destination=folder / "new"),
        task("backup_verify", **missing, level="restore", scratch_directory=folder),
    )
    (result,) = refused("agent_not_working", task("pitr_configure", agent_command=broken))
    assert "out of order" in result["msg"]
    assert list(folder.iterdir()) == [broken]
