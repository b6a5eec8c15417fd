# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`archive_command` promises only what is so (I4), and nobody else's WAL, backup or server gets in (I5)."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Cluster, Postgres, run, server_user, wait_until
from harness.playbooks import Ansible
from support import STANZA, Site, assert_refused, objects, task, tree

SYSTEM_IDENTIFIER_OFFSET, MAGIC_OFFSET = 24, 0


class Pushing:
    """A segment of a site, and a repository of the test's own to push it to."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.repository = folder / "repository"
        self.folder = folder
        run(["cp", "-a", site.repository, self.repository])
        site.cluster.sql("SELECT pg_create_restore_point('something in the present segment')")
        site.cluster.sql("CHECKPOINT")  # and on disk
        ((self.segment,),) = site.cluster.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
        self.content = (site.cluster.data_directory / "pg_wal" / self.segment).read_bytes()

    @property
    def arguments(self) -> tuple[str | Path, ...]:
        """archive-push to our repository."""
        return ("archive-push", "--repository", self.repository)

    def file(self, content: bytes, name: str | None = None) -> Path:
        """A WAL file that the server's user can read."""
        path = self.folder / (name or self.segment)
        path.write_bytes(content)
        return path

    def archived(self) -> list[str]:
        """What the archive has under the segment's name."""
        return [name for name in objects(self.repository) if self.segment in name]

    def refused(self, code: str, path: Path) -> None:
        """Pushing this file fails, and the repository is as it was."""
        before = tree(self.repository)
        self.site.command_refused(code, *self.arguments, path)
        assert tree(self.repository) == before


@pytest.fixture
def pushing(site: Site, new_folder: Callable[[], Path]) -> Pushing:
    """The segment that is being written is in no archive yet."""
    return Pushing(site, new_folder())


# --- I4


def test_zero_means_that_the_segment_is_there_and_whole(pushing: Pushing) -> None:
    assert pushing.archived() == []
    path = pushing.file(pushing.content)
    assert pushing.site.lifeboat(*pushing.arguments, path).returncode == 0
    (name,) = pushing.archived()
    fetched = pushing.folder / "fetched"
    pushing.site.lifeboat("archive-fetch", "--repository", pushing.repository, path.name, fetched)
    assert fetched.read_bytes() == pushing.content

    after = tree(pushing.repository)
    assert pushing.site.lifeboat(*pushing.arguments, path).returncode == 0
    assert tree(pushing.repository) == after


def test_another_segment_of_the_same_name_is_refused(pushing: Pushing) -> None:
    pushing.site.lifeboat(*pushing.arguments, pushing.file(pushing.content))
    pushing.refused("wal_conflict", pushing.file(pushing.content[:-1] + b"\1"))
    assert len(pushing.archived()) == 1


def test_a_repository_that_cannot_be_written(pushing: Pushing) -> None:
    path = pushing.file(pushing.content)
    directories = [pushing.repository, *(each for each in pushing.repository.rglob("*") if each.is_dir())]
    for directory in directories:
        directory.chmod(0o500)
    pushing.refused("storage_not_permitted", path)
    for directory in directories:
        directory.chmod(0o700)
    hidden = pushing.repository.rename(pushing.repository.with_name("unmounted"))
    pushing.refused("repository_missing", path)
    hidden.rename(pushing.repository)
    assert pushing.site.lifeboat(*pushing.arguments, path).returncode == 0


def test_a_write_that_fails_midway_leaves_nothing(pushing: Pushing) -> None:
    """A limit on the size of files stands for a disk that becomes full; the segment does not compress."""
    path = pushing.file(pushing.content[:8192] + os.urandom(len(pushing.content) - 8192))

    def files() -> list[Path]:
        return sorted(each for each in pushing.repository.rglob("*") if each.is_file())

    before = files()
    settings = ("--config", pushing.site.config_file, "--cluster", STANZA)
    command = ["prlimit", "--fsize=1000000", pushing.site.command, *pushing.arguments, *settings, path]
    done = run(command, user=server_user(), check=False)
    assert done.returncode == 1 and "error [storage_failed]" in done.stderr, done
    assert files() == before
    assert pushing.site.lifeboat(*pushing.arguments, path).returncode == 0


def test_the_server_keeps_what_could_not_be_archived(site: Site) -> None:
    """And archives it when it can again, without help."""
    site.repository.rename(site.repository.with_name("unmounted"))
    try:
        failed = "SELECT failed_count FROM pg_stat_archiver"
        before = site.cluster.sql(failed)
        site.cluster.sql("SELECT pg_create_restore_point('not archived')")
        ((segment,),) = site.cluster.sql("SELECT pg_walfile_name(pg_switch_wal())")
        wait_until(lambda: site.cluster.sql(failed) > before, "archiving had failed")
        ready = site.cluster.data_directory / f"pg_wal/archive_status/{segment}.ready"
        assert ready.exists()
    finally:
        site.repository.with_name("unmounted").rename(site.repository)
    wait_until(lambda: not ready.exists(), "the segment was archived")
    assert any(segment in name for name in objects(site.repository))


# --- I5


def test_wal_of_another_server_version_or_place_is_refused(pushing: Pushing) -> None:
    identifier, magic = bytearray(pushing.content), bytearray(pushing.content)
    struct.pack_into("<Q", identifier, SYSTEM_IDENTIFIER_OFFSET, 7_000_000_000_000_000_000)
    struct.pack_into("<H", magic, MAGIC_OFFSET, 0xD10D)  # PostgreSQL 14
    name = pushing.segment
    another = f"{name[:-2]}{int(name[-2:], 16) ^ 1:02X}"
    cases = (
        ("wal_foreign_system", bytes(identifier), name),
        ("wal_foreign_system", bytes(magic), name),
        ("wal_wrong_name", pushing.content, another),
        ("wal_not_a_segment", pushing.content[:-8192], name),
        ("wal_not_a_segment", bytes(len(pushing.content)), name),
        ("wal_name_invalid", pushing.content, "pg_control"),
    )
    for code, content, claimed in cases:
        pushing.refused(code, pushing.file(content, claimed))


@pytest.fixture(scope="module")
def stranger(postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path]) -> Iterator[Site]:
    """A site on a cluster of another system identifier."""
    cluster = postgres.clone("stranger")
    run(["rm", "-r", cluster.data_directory])
    postgres.run("initdb", "--pgdata", cluster.data_directory, "--username", "postgres", "--auth", "trust", "--no-sync")
    cluster.write_own_settings()
    with contextlib.ExitStack() as stack:
        stack.enter_context(cluster)
        made = Site(ansible, cluster, new_folder())
        made.play(made.agent_task, task("pg_backup_repository", create_key=True), task("pitr_configure", restart=True))
        yield made


def test_the_stanza_of_another_cluster_is_refused(site: Site, stranger: Site) -> None:
    theirs = {"repository": site.repository, "key_file": site.key_file}
    before = (tree(site.folder, stranger.folder), stranger.settings())
    configure, backup = stranger.play(
        task("pitr_configure", **theirs, replace_archiver=True), task("pg_backup", **theirs), fails=True
    )
    for result in (configure, backup):
        message = assert_refused("stanza_of_another_cluster", result)["msg"]
        for cluster in (site.cluster, stranger.cluster):
            ((identifier,),) = cluster.sql("SELECT system_identifier FROM pg_control_system()", db="postgres")
            assert str(identifier) in message
    assert (tree(site.folder, stranger.folder), stranger.settings()) == before


def test_a_restored_clone_does_not_archive_into_the_originals_archive(
    site: Site, new_place: Callable[[], Cluster]
) -> None:
    restored = new_place()
    site.module(
        "pg_restore",
        destination=restored.data_directory,
        port=restored.port,
        socket_directory=restored.socket_dir,
    )
    before = tree(site.repository)
    assert restored.sql("SHOW archive_mode") == [("off",)]
    restored.sql("INSERT INTO orders (customer, amount, placed) VALUES ('clone', 1, now())")
    restored.sql("SELECT pg_switch_wal()")
    restored.sql("CHECKPOINT")
    restored.restart()
    assert restored.sql("SELECT archived_count, failed_count FROM pg_stat_archiver") == [(0, 0)]
    assert tree(site.repository) == before
