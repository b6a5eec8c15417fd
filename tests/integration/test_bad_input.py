# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new user gets wrong about servers, files and keys: one clear error each, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import PASSWORD_ROLE, Cluster, Postgres, free_port, run, server_folder, server_user
from support import STANZA, Result, Site, Task, assert_refused, task, tree

Case = tuple[str, Task]
Refused = Callable[..., list[Result]]


@pytest.fixture
def refused(site: Site) -> Refused:
    """Runs tasks, each with the code that it must fail with, and makes sure that afterwards nothing is different."""

    def run_all(*cases: Case, **how: Any) -> list[Result]:
        before = (tree(site.folder), site.settings())
        results = site.play(*(each for _ignored, each in cases), fails=True, **how)
        for (code, _ignored), result in zip(cases, results):
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


def on_the_server(code: str, **options: Any) -> list[Case]:
    """The two modules that talk to a server, with the same options; the second would change settings."""
    return [(code, task("pg_backup", **options)), (code, task("pitr_configure", **options, archive_timeout=33))]


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


def test_a_server_that_is_not_there(refused: Refused, stopped: Cluster) -> None:
    port, code = free_port(), "server_not_reachable"
    itself = {"data_directory": stopped.data_directory, "login_unix_socket": stopped.socket_dir}
    results = refused(
        *on_the_server(code, login_port=port),
        *on_the_server(code, login_host="127.0.0.1", login_port=port),
        *on_the_server(code, **itself, login_port=stopped.port),
    )
    assert all(str(port) in result["msg"] for result in results[:4])
    assert not stopped.is_running()


def test_a_login_that_is_wrong(refused: Refused, site: Site) -> None:
    tcp = {"login_host": "127.0.0.1", "login_port": site.cluster.port, "login_user": PASSWORD_ROLE}
    results = refused(
        *on_the_server("authentication_failed", **tcp),
        *on_the_server("authentication_failed", **tcp, login_password="s3same"),
        *on_the_server("role_or_database_missing", login_user="nessie"),
        *on_the_server("role_or_database_missing", login_db="atlantis"),
    )
    words = (PASSWORD_ROLE,) * 4 + ("nessie",) * 2 + ("atlantis",) * 2
    assert all(word in result["msg"] for word, result in zip(words, results))
    assert "s3same" not in str(results)


def test_a_role_without_the_privileges(refused: Refused, site: Site) -> None:
    site.cluster.sql("CREATE ROLE weak LOGIN; CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher")
    try:
        refused(
            *on_the_server("role_lacks_privilege", login_user="weak"),
            *on_the_server("role_lacks_privilege", login_user="watcher"),
        )
    finally:
        site.cluster.sql("DROP ROLE weak, watcher")


# --- The data directory


def test_another_servers_directory(refused: Refused, site: Site, clone: Callable[[str], Cluster]) -> None:
    code, other = "server_directory_mismatch", clone("other")
    identifier = "SELECT system_identifier FROM pg_control_system()"
    assert other.sql(identifier) == site.cluster.sql(identifier)
    copy = other.data_directory.with_name("copy")
    run(["cp", "-a", site.cluster.data_directory, copy], user=server_user())
    home = {"login_unix_socket": site.cluster.socket_dir, "login_port": site.cluster.port}
    refused(
        *on_the_server(code, login_unix_socket=other.socket_dir, login_port=other.port),
        *on_the_server(code, **home, data_directory=other.data_directory),
        # a copy brings the original's postmaster.pid along, which leads to the original's server
        *on_the_server(code, data_directory=copy),
    )
    assert other.sql("SHOW archive_timeout") == [("0",)]


def test_a_directory_that_cannot_be_read_or_is_none(
    refused: Refused, site: Site, new_folder: Callable[[], Path]
) -> None:
    folder = new_folder()
    locked, empty = server_folder(folder / "locked", 0o000), server_folder(folder / "empty")
    refused(
        *on_the_server("data_directory_unreachable", data_directory=folder / "missing"),
        *on_the_server("data_directory_unreadable", data_directory=locked),
        *on_the_server(
            "not_a_data_directory",
            data_directory=empty,
            login_unix_socket=site.cluster.socket_dir,
            login_port=site.cluster.port,
        ),
    )
    assert sorted(tree(folder)) == sorted(map(str, (folder, locked, empty)))


def test_a_user_who_is_neither_root_nor_the_owner(site: Site) -> None:
    before = tree(site.folder)
    said = site.command_refused("wrong_user", "backup", user=pwd.getpwnam("nobody"))
    assert "nobody" in said and server_user().pw_name in said
    assert tree(site.folder) == before


# --- The repository


def test_a_repository_that_is_not_there(refused: Refused, new_folder: Callable[[], Path]) -> None:
    folder = new_folder()
    missing, new = {"repository": folder / "missing"}, folder / "new"
    refused(
        *on_the_server("repository_missing", **missing),
        ("repository_missing", task("pg_restore", **missing, destination=new)),
        ("repository_missing", task("backup_verify", **missing)),
        ("repository_missing", task("pg_backup_info", **missing)),
        ("repository_missing", task("pg_backup_info", repository=folder)),
        ("repository_path_relative", task("pg_backup", repository="srv/backups")),
        ("repository_path_relative", task("pg_backup_repository", repository="srv/backups")),
        ("repository_scheme_unsupported", task("pg_backup", repository="ftp://host/backups")),
    )
    assert list(folder.iterdir()) == []


def test_a_repository_that_cannot_be_written_or_read(refused: Refused, site: Site) -> None:
    directories = [path for path in site.repository.rglob("*") if path.is_dir()]
    with mode(0o500, site.repository, *directories):
        refused(("storage_not_permitted", task("pg_backup")))
    with mode(0o000, site.repository):
        refused(*on_the_server("storage_not_permitted"))


def test_a_repository_is_not_made_halfway(refused: Refused, site: Site, new_folder: Callable[[], Path]) -> None:
    folder = new_folder()
    new = {"repository": folder / "backups/repository", "key_file": folder / "keys/key"}
    forbidden = {**new, "repository": "/lifeboat-test/repository", "create_key": True}
    refused(
        ("key_file_missing", task("pg_backup_repository", **new)),
        ("key_file_missing", task("pg_backup_repository", key_file=new["key_file"], create_key=True)),
    )
    refused(("storage_not_permitted", task("pg_backup_repository", **forbidden)), as_server_user=True)
    assert list(folder.iterdir()) == []


# --- The key


def test_a_key_file_that_is_missing_open_to_others_wrong_or_garbage(
    refused: Refused, site: Site, new_folder: Callable[[], Path]
) -> None:
    folder, segment = new_folder(), next((site.cluster.data_directory / "pg_wal").glob("0*"))
    secret = site.key_file.read_text()
    keys = {name: folder / name for name in ("missing", "readable", "wrong", "garbage", "short", "roots")}
    site.module("pg_backup_repository", repository=folder / "other", key_file=keys["wrong"], create_key=True)
    for name, text in {"readable": secret, "roots": secret, "garbage": "a key\n", "short": secret[:-9]}.items():
        keys[name].write_text(text)
        keys[name].chmod(0o444 if name == "readable" else 0o400)
        if name != "roots":
            os.chown(keys[name], server_user().pw_uid, server_user().pw_gid)
    codes = {
        "missing": "key_file_missing",
        "readable": "key_file_permissions",
        "wrong": "key_wrong",
        "garbage": "key_file_invalid",
        "short": "key_file_invalid",
        "roots": "key_file_not_readable",
    }
    results = refused(
        *((code, task("pg_backup_info", key_file=keys[name])) for name, code in codes.items()),
        *on_the_server("key_wrong", key_file=keys["wrong"]),
        ("key_file_permissions", task("pg_restore", key_file=keys["readable"], destination=folder / "new")),
        ("key_file_invalid", task("backup_verify", key_file=keys["garbage"])),
        ("key_wrong", task("pg_backup_repository", key_file=keys["wrong"])),
    )
    assert secret.partition(":")[2][:10] not in str(results)
    for name, code in codes.items():
        site.command_refused(code, "archive-push", "--key-file", keys[name], segment)
    assert not (folder / "new").exists()


# --- The configuration


def test_a_configuration_without_the_cluster_or_with_mistakes(
    refused: Refused, site: Site, new_folder: Callable[[], Path]
) -> None:
    folder = new_folder()
    broken, dangling, bare = folder / "broken.conf", folder / "dangling.conf", folder / "bare.conf"
    broken.write_text(site.config_file.read_text() + "colour = green\n")
    dangling.write_text("[cluster main]\nrepository = gone\n")
    bare.write_text("[repository r]\nurl = /nowhere\n[cluster main]\nrepository = r\n")
    results = refused(
        *on_the_server("cluster_unknown", cluster="nain"),
        ("cluster_unknown", task("pg_restore", cluster="nain", destination=folder / "new")),
        ("config_missing", task("pg_backup", config_file=folder / "missing.conf")),
        ("config_invalid", task("pg_backup", config_file=broken)),
        ("config_invalid", task("pg_backup", config_file=dangling)),
        ("config_invalid", task("pg_backup", config_file=bare)),
        ("stanza_unknown", task("pg_backup", stanza="nobody-knows")),
        ("name_invalid", task("pitr_configure", stanza="../climbing")),
    )
    assert "nain" in results[0]["msg"] and STANZA in results[0]["msg"]
    assert "colour" in results[4]["msg"] and "gone" in results[5]["msg"] and "key_file" in results[6]["msg"]
    assert "nain" in site.command_refused("cluster_unknown", "info", "--cluster", "nain")


def test_the_on_host_command_that_is_missing_or_does_not_work(refused: Refused, new_folder: Callable[[], Path]) -> None:
    folder = new_folder()
    broken = folder / "broken"
    broken.write_text("#!/bin/sh\necho out of order >&2\nexit 3\n")
    broken.chmod(0o755)
    missing = {"agent_command": folder / "missing"}
    *_ignored, result = refused(
        ("agent_missing", task("pitr_configure", **missing)),
        ("agent_missing", task("pg_restore", **missing, destination=folder / "new")),
        ("agent_missing", task("backup_verify", **missing, level="restore", scratch_directory=folder)),
        ("agent_not_working", task("pitr_configure", agent_command=broken)),
    )
    assert "out of order" in result["msg"]
    assert list(folder.iterdir()) == [broken]
