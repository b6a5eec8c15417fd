# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to the server, and to its files, in the middle of a backup.

What makes the backup useless is a clear error, and nothing of it can be seen; everything else is in what it restores.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import PROGRAMS, Cluster, Postgres, server_folder, server_user, wait_until
from harness.machine import CLEAN_ENVIRONMENT
from harness.playbooks import Ansible
from judging import judge, judge_running
from support import STANZA, Site, task

HELD = Path(__file__).with_name("held_backup.py")


class HeldBackup:
    """A backup that waits for `go_on`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first == "held\n", first

    def go_on(self) -> dict[str, Any]:
        """Let it come to its end; what became of it."""
        said, _nothing = self._process.communicate("\n", timeout=240)
        outcome: dict[str, Any] = json.loads(said.splitlines()[-1])
        return outcome

    def fails(self, code: str) -> str:
        """Let it come to its end, which must be this error; what it said."""
        outcome = self.go_on()
        assert outcome.get("code") == code, outcome
        assert outcome["attempted"] and outcome["happened"] and outcome["remedy"]
        return f"{outcome['attempted']}: {outcome['happened']} {outcome['remedy']}"


@contextlib.contextmanager
def held(site: Site, point: str, *server: str | Path, backup_type: str = "full") -> Iterator[HeldBackup]:
    """A backup of the site's cluster, or of another server, that waits at this point."""
    script = site.folder / HELD.name
    script.write_bytes(HELD.read_bytes())
    script.chmod(0o644)
    user = server_user() if os.geteuid() == 0 else None
    with subprocess.Popen(
        [PROGRAMS / "python", script, site.config_file, STANZA, backup_type, point, *server],
        env={**CLEAN_ENVIRONMENT, "PYTHONPATH": str(site.ansible.collections)},
        cwd=site.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
    ) as process:
        try:
            yield HeldBackup(process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def own_site(postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path]) -> Iterator[Site]:
    """A site of this file's own, whose server is stopped and killed."""
    with postgres.clone("midway") as cluster:
        made = Site(ansible, cluster, new_folder())
        made.play(
            made.agent_task,
            task("pg_backup_repository", create_key=True),
            task("pitr_configure", restart=True, archive_timeout=0),
            task("pg_backup"),
        )
        yield made


def restored(site: Site, backup: str, place: Cluster) -> Cluster:
    """A backup, restored with all WAL and running."""
    site.archive_everything()
    site.module(
        "pg_restore",
        backup=backup,
        destination=place.data_directory,
        port=place.port,
        socket_directory=place.socket_dir,
    )
    return place


@pytest.mark.parametrize("what", ["restarted", "killed"])
def test_a_server_that_is_gone_and_back(own_site: Site, what: str) -> None:
    site, known = own_site, own_site.backup_ids()
    with held(site, "stopping backup mode") as backup:
        if what == "killed":
            site.cluster.kill()
            site.cluster.start()
        else:
            site.cluster.restart()
        said = backup.fails("server_connection_lost")
    assert "restarted" in said
    assert site.backup_ids() == known
    made = site.module("pg_backup", type="full")["backup"]["id"]
    assert site.backup_ids() == [*known, made]


def test_a_server_that_is_stopped_while_its_files_are_read(own_site: Site) -> None:
    site, known = own_site, own_site.backup_ids()
    with held(site, "copying files") as backup:
        site.cluster.stop()
        backup.fails("server_connection_lost")
        site.cluster.start()
    assert site.backup_ids() == known


@pytest.fixture
def standby(own_site: Site, new_folder: Callable[[], Path]) -> Iterator[Cluster]:
    """A standby that archives nothing, whatever becomes of it."""
    folder, primary = new_folder(), own_site.cluster
    replica = primary.postgres.adopt(folder / "data", primary.port + 1, server_folder(folder / "s", 0o700))
    primary.run("pg_basebackup", "--pgdata", replica.data_directory, "--write-recovery-conf", "--checkpoint=fast")
    replica.write_own_settings()
    with (replica.data_directory / "postgresql.auto.conf").open("a") as settings:
        settings.write("archive_mode = off\n")
    with replica:
        yield replica


def test_a_standby_whose_primary_is_idle_says_what_would_help_long_before_it_gives_up(
    own_site: Site, standby: Cluster
) -> None:
    """The primary has archive_timeout = 0: nothing but somebody's doing brings the WAL."""
    # The standby has come into a segment that the primary has not ended.
    ((lsn,),) = own_site.cluster.sql("SELECT pg_create_restore_point('idle from here on')::text")
    replayed = "SELECT pg_last_wal_replay_lsn() >= %(lsn)s::pg_lsn"
    wait_until(lambda: standby.sql(replayed, lsn=lsn) == [(True,)], "the standby had replayed the last record")
    where = (standby.data_directory, standby.socket_dir, str(standby.port))
    with held(own_site, "still waiting for WAL", *where) as backup:
        own_site.cluster.sql("SELECT pg_switch_wal()")
        made = backup.go_on()
    assert made["backup"] in own_site.backup_ids()
    assert any("SELECT pg_switch_wal() on the primary" in said for said in made["said"])


def test_a_standby_that_is_promoted(own_site: Site, standby: Cluster) -> None:
    site, known = own_site, own_site.backup_ids()
    where = (standby.data_directory, standby.socket_dir, str(standby.port))
    with held(site, "stopping backup mode", *where) as backup:
        standby.postgres.run("pg_ctl", "promote", "--wait", "--pgdata", standby.data_directory)
        wait_until(lambda: standby.sql("SELECT pg_is_in_recovery()") == [(False,)], "the standby was promoted")
        said = backup.fails("standby_promoted")
    assert "promoted" in said
    assert site.backup_ids() == known
    # It is another server now, although of the same system identifier, and archives nothing.
    site.refused(
        "archiving_off",
        "pg_backup",
        data_directory=standby.data_directory,
        login_unix_socket=standby.socket_dir,
        login_port=standby.port,
    )
    assert site.backup_ids() == known


def test_an_older_copy_of_the_cluster(own_site: Site, clone: Callable[[str], Cluster]) -> None:
    """A snapshot that was brought back, for example: of the same timeline, but what is archived does not go with it."""
    site, known, copy = own_site, own_site.backup_ids(), clone("copy")
    copy.set(archive_mode="on", archive_command="exit 1")
    copy.restart()
    where = {"login_unix_socket": copy.socket_dir, "login_port": copy.port}
    refusal = site.refused("server_behind_its_backups", "pg_backup", data_directory=copy.data_directory, **where)
    assert known[-1] in refusal["happened"]
    assert site.backup_ids() == known


def test_databases_and_tables_that_come_and_go(own_site: Site, new_place: Callable[[], Cluster]) -> None:
    site, cluster = own_site, own_site.cluster
    cluster.sql("CREATE DATABASE old", db="postgres")
    cluster.sql("CREATE TABLE shrinks AS SELECT g, repeat('x', 500) FROM generate_series(1, 20000) AS g")
    cluster.sql("CREATE TABLE grows AS SELECT g, repeat('x', 500) FROM generate_series(1, 2000) AS g")
    cluster.sql("CREATE TABLE vanishes AS SELECT g, repeat('x', 500) FROM generate_series(1, 2000) AS g")
    ((shrinking,),) = cluster.sql("SELECT pg_relation_filepath('shrinks')")
    with held(site, f"file:/{shrinking}") as backup:
        cluster.sql("DELETE FROM shrinks WHERE g > 100")
        cluster.sql("VACUUM shrinks")
        assert (cluster.data_directory / shrinking).stat().st_size < 100_000
        cluster.sql("INSERT INTO grows SELECT g, repeat('y', 500) FROM generate_series(1, 50000) AS g")
        cluster.sql("DROP TABLE vanishes")
        cluster.sql("DROP DATABASE old", db="postgres")
        cluster.sql("CREATE DATABASE new", db="postgres")
        cluster.sql("CREATE TABLE appears AS SELECT 1 AS n", db="new")
        cluster.sql("CHECKPOINT")
        outcome = backup.go_on()
    assert outcome["damaged"] == []
    place = restored(site, outcome["backup"], new_place())
    assert place.sql("SELECT count(*) FROM shrinks") == [(100,)]
    assert place.sql("SELECT count(*) FROM grows") == [(52000,)]
    assert place.sql("SELECT to_regclass('vanishes')") == [(None,)]
    assert place.sql("SELECT n FROM appears", db="new") == [(1,)]
    assert place.sql("SELECT datname FROM pg_database WHERE datname = 'old'", db="postgres") == []
    judge_running(place)


def test_a_file_that_is_cut_behind_the_servers_back(own_site: Site) -> None:
    """In the middle of a page, as no server does: that is reported, and refused if wanted."""
    site, cluster = own_site, own_site.cluster
    cluster.sql("CREATE TABLE cut AS SELECT g, repeat('x', 500) FROM generate_series(1, 2000) AS g; CHECKPOINT")
    ((path,),) = cluster.sql("SELECT pg_relation_filepath('cut')")
    file, content = cluster.data_directory / path, (cluster.data_directory / path).read_bytes()
    known = site.backup_ids()
    try:
        with held(site, f"file:/{path}") as backup:
            os.truncate(file, 8192 * 40 + 1000)
            assert backup.go_on()["damaged"] == [f"{path} block 40"]
        site.refused("pages_damaged", "pg_backup", type="full", damaged_pages="fail")
    finally:
        file.write_bytes(content)
        cluster.sql("DROP TABLE cut; CHECKPOINT")
    assert len(site.backup_ids()) == len(known) + 1


def test_a_directory_that_is_missing(own_site: Site) -> None:
    site, known = own_site, own_site.backup_ids()
    away = site.cluster.data_directory / "pg_twophase"
    moved = away.rename(site.cluster.root / "away")
    try:
        refusal = site.refused("data_directory_incomplete", "pg_backup")
    finally:
        moved.rename(away)
    assert "pg_twophase" in refusal["happened"]
    assert site.backup_ids() == known


def test_after_all_of_it_a_backup_is_good(own_site: Site, new_place: Callable[[], Cluster]) -> None:
    made = own_site.module("pg_backup", type="full")["backup"]["id"]
    own_site.archive_everything()
    place = new_place()
    own_site.module(
        "pg_restore",
        backup=made,
        destination=place.data_directory,
        port=place.port,
        socket_directory=place.socket_dir,
        start=False,
    )
    judge(place)
