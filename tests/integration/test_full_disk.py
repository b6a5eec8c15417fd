# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository on a file system that becomes full: clear errors, nothing half-visible, and it goes on later.

A real file system of a few mebibytes, which takes root to mount.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Postgres, cannot_be_had, run, server_user, wait_until
from harness.playbooks import Ansible
from support import Site, objects, task

MIB = 1 << 20
SIZE = 96 * MIB


class Disk:
    """The repository's file system, on which others take room."""

    def __init__(self, site: Site, mount: Path) -> None:
        self.site = site
        self._filler = mount / ".of-others"

    def leave(self, free: int) -> None:
        """Fill it but for so many bytes."""
        self.make_room()
        facts = os.statvfs(self._filler.parent)
        with self._filler.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, facts.f_bavail * facts.f_frsize - free)

    def make_room(self) -> None:
        """All of it."""
        self._filler.unlink(missing_ok=True)

    def everything(self) -> list[str]:
        """All files of the repository but for WAL, those of unfinished writers included."""
        root = self.site.repository
        return sorted(
            str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and "wal" not in path.parts
        )


@pytest.fixture(scope="module")
def disk(postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path]) -> Iterator[Disk]:
    if os.geteuid() != 0:
        cannot_be_had("mounting a small file system takes root")
    folder, user = new_folder(), server_user()
    mount = folder / "repository"
    mount.mkdir()
    options = f"size={SIZE},mode=0755,uid={user.pw_uid},gid={user.pw_gid}"
    run(["mount", "-t", "tmpfs", "-o", options, "lifeboat-test", mount])
    try:
        with postgres.clone("full-disk") as cluster:
            site = Site(ansible, cluster, folder)
            site.play(
                site.agent_task,
                task("pg_backup_repository", create_key=True),
                task("pitr_configure", restart=True, archive_timeout=0),
                task("pg_backup", type="full"),
            )
            # what does not compress, so that a backup of it needs its size
            cluster.sql("CREATE TABLE noise (bytes bytea)")
            cluster.sql("ALTER TABLE noise ALTER bytes SET STORAGE EXTERNAL")
            add_noise(site, 12)
            yield Disk(site, mount)
    finally:
        subprocess.run(["umount", "--lazy", mount], check=False)


def add_noise(site: Site, mebibytes: int) -> None:
    for _number in range(mebibytes):
        site.cluster.sql("INSERT INTO noise VALUES (%(bytes)s)", bytes=os.urandom(MIB))
    site.archive_everything()


@pytest.mark.parametrize("backup_type", ["full", "incremental"])
@pytest.mark.parametrize("free", [0, 3 * MIB], ids=["no room at all", "room for a part"])
def test_a_backup(disk: Disk, backup_type: str, free: int) -> None:
    site = disk.site
    site.archive_everything()
    known, before = site.backup_ids(), disk.everything()
    disk.leave(free)
    try:
        refusal = site.refused("storage_full", "pg_backup", type=backup_type)
        assert "full" in refusal["happened"]
        assert site.backup_ids() == known
        assert [name for name in disk.everything() if name not in before and not name.startswith(".of")] == []
    finally:
        disk.make_room()
    site.module("backup_verify", backup=known[0])


def test_the_archive(disk: Disk) -> None:
    """PostgreSQL keeps what could not be archived, and archives it when there is room."""
    site = disk.site
    disk.leave(MIB)
    try:
        site.cluster.sql("INSERT INTO noise VALUES (%(bytes)s)", bytes=os.urandom(4 * MIB))
        failures = "SELECT failed_count FROM pg_stat_archiver"
        before = site.cluster.sql(failures)
        ((segment,),) = site.cluster.sql("SELECT pg_walfile_name(pg_switch_wal())")
        wait_until(lambda: site.cluster.sql(failures) > before, "archiving had failed")
        site.command_refused("storage_full", "archive-push", site.cluster.data_directory / "pg_wal" / segment)
        assert not [name for name in objects(site.repository) if segment in name]
        assert not list(site.repository.rglob(f".*{segment}*"))
        assert (site.cluster.data_directory / f"pg_wal/archive_status/{segment}.ready").exists()
    finally:
        disk.make_room()
    archived = "SELECT last_archived_wal >= %(segment)s FROM pg_stat_archiver"
    wait_until(lambda: site.cluster.sql(archived, segment=segment) == [(True,)], "the segment was archived")


def test_with_room_again(disk: Disk) -> None:
    """Everything from before is whole, and the next backup has what could not be backed up."""
    site = disk.site
    known = site.backup_ids()
    made = site.module("pg_backup")["backup"]["id"]
    assert site.backup_ids() == [*known, made]
    site.play(task("backup_verify", backup=known[0]), task("backup_verify", level="restore", backup=made))
