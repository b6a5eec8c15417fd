# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Incrementals that read what the server's WAL summaries name are what reading everything makes (PostgreSQL 17 on)."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.access import stanza_of
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import FileEntry
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.file_reader import FileReader
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import KeySpec, RepositorySpec
from harness import Cluster, server_folder, wait_until
from support import STANZA, Site, summarizing, task

SUMMARIES_SINCE = 17
BY_SUMMARIES = "which the WAL summaries tell"
TABLES = ("touched", "cut", "emptied", "grown", "untouched", "removed")


SUMS = " UNION ALL ".join(
    f"SELECT '{name}' AS name, count(*), sum(n), md5(string_agg(word, '' ORDER BY n)) FROM {name}" for name in TABLES
)


def fill(site: Site) -> None:
    """Relations of a few megabytes each, which get block maps."""
    for name in TABLES:
        site.cluster.sql(f"CREATE TABLE {name} (n bigint PRIMARY KEY, word text)")
        site.cluster.sql(f"INSERT INTO {name} SELECT n, repeat('x', 100) FROM generate_series(1, 30000) AS n")
    site.cluster.sql("VACUUM")


def change(site: Site) -> None:
    """Everything that WAL can do to a relation's file."""
    sql = site.cluster.sql
    sql("UPDATE touched SET word = 'y' WHERE n % 997 = 0; DELETE FROM cut WHERE n > 9000")
    sql("VACUUM cut")
    sql("INSERT INTO cut SELECT n, 'back' FROM generate_series(20000, 21000) AS n; TRUNCATE emptied")
    sql("INSERT INTO emptied SELECT n, repeat('z', 90) FROM generate_series(1, 30000) AS n")
    sql("INSERT INTO grown SELECT n, repeat('g', 90) FROM generate_series(30001, 90000) AS n")
    sql("DROP TABLE removed; CREATE TABLE removed AS SELECT * FROM grown")
    strategy = "STRATEGY file_copy" if site.cluster.postgres.major >= 15 else ""
    sql(f"CREATE DATABASE copied TEMPLATE app {strategy}", database="postgres")


def pages(site: Site, backup_id: str) -> dict[str, bytes]:
    """The digests of all pages of all files that have a map, as a backup has recorded them."""
    stanza = stanza_of(RepositorySpec(str(site.repository), KeySpec(key_file=site.key_file)), STANZA)
    reader = FileReader(stanza, stanza.header(backup_id).generation, 1)
    files = (entry for entry in stanza.entries(backup_id) if isinstance(entry, FileEntry) and entry.block_map)
    return {entry.path: reader.block_map(entry).digests for entry in files}


def incremental(site: Site, **where: Any) -> tuple[str, bool]:
    """Make one; its id, and whether it went by the summaries."""
    done = site.playbook(task("pg_backup", type="incremental", **where), progress=True)
    result: dict[str, Any] = done.tasks[0].result
    return result["backup"]["id"], BY_SUMMARIES in done.output


@pytest.fixture
def noting(bare_site: Site) -> Site:
    """A cluster that notes what its WAL changes, as pitr_configure sets it up, with a full backup."""
    site = bare_site
    site.cluster.set(autovacuum="off")
    how = summarizing(site.cluster.postgres.major)
    site.play(task("pitr_configure", restart=True, archive_timeout=0, **how))
    fill(site)
    site.play(task("pg_backup", type="full"))
    return site


def test_they_tell_what_reading_everything_tells(noting: Site, new_place: Callable[[], Cluster]) -> None:
    site = noting
    supported = site.cluster.postgres.major >= SUMMARIES_SINCE
    change(site)
    by_summaries, used = incremental(site)
    assert used == supported
    if supported:
        site.cluster.set(summarize_wal="off")
        site.cluster.sql("SELECT pg_reload_conf()")
    by_reading, used = incremental(site)
    assert not used
    told, read = pages(site, by_summaries), pages(site, by_reading)
    assert len(told) > 2 * len(TABLES)
    assert [path for path in told if told[path] != read[path]] == []
    assert told.keys() == read.keys()
    restored = new_place()
    where = {"destination": restored.data_directory, "port": restored.port, "socket_directory": restored.socket_dir}
    site.module("pg_restore", backup=by_summaries, **where)
    for name in ("touched", "cut", "emptied", "grown", "removed"):
        query = f"SELECT count(*), sum(n), md5(string_agg(word, '' ORDER BY n)) FROM {name}"
        assert restored.sql(query) == site.cluster.sql(query), name
    if supported:
        assert restored.sql("SHOW summarize_wal") == [("off",)]  # its recovery would have waited for it


def address(cluster: Cluster) -> dict[str, Any]:
    """Options for a backup of another server than the site's."""
    where = {"login_unix_socket": cluster.socket_dir, "login_port": cluster.port}
    return {"data_directory": cluster.data_directory, **where}


@pytest.fixture
def standby(noting: Site, new_folder: Callable[[], Path]) -> Iterator[Cluster]:
    """A streaming standby of it, which notes what it replays."""
    folder, primary = new_folder(), noting.cluster
    replica = primary.postgres.adopt(folder / "data", primary.port + 1, server_folder(folder / "s", 0o700))
    primary.run("pg_basebackup", "--pgdata", replica.data_directory, "--write-recovery-conf", "--checkpoint=fast")
    replica.write_own_settings()
    with replica:
        yield replica


def catch_up(primary: Cluster, standby: Cluster) -> None:
    """Let the standby replay everything, a checkpoint to restart from included."""
    primary.sql("CHECKPOINT")
    ((position,),) = primary.sql("SELECT pg_current_wal_flush_lsn()::text")
    replayed = "SELECT pg_last_wal_replay_lsn() >= %(position)s::pg_lsn"
    wait_until(lambda: standby.sql(replayed, position=position) == [(True,)], "the standby had caught up")


@contextlib.contextmanager
def ending_segments(primary: Cluster) -> Iterator[None]:
    """What a backup from a standby waits for and cannot do itself. It changes no page."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(2):
            primary.sql("SELECT pg_create_restore_point('the end of a segment'), pg_switch_wal()")

    worker = threading.Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        over.set()
        worker.join()


def test_from_a_standby_that_lags_that_has_caught_up_and_that_is_promoted(
    noting: Site, standby: Cluster, new_place: Callable[[], Cluster]
) -> None:
    site, supported = noting, noting.cluster.postgres.major >= SUMMARIES_SINCE
    catch_up(site.cluster, standby)
    standby.sql("SELECT pg_wal_replay_pause()")
    change(site)
    assert incremental(site)[1] == supported
    site.archive_everything()
    # Its files are older than those that the last backup has.
    with ending_segments(site.cluster):
        lagging, used = incremental(site, **address(standby))
    assert not used

    standby.sql("SELECT pg_wal_replay_resume()")
    catch_up(site.cluster, standby)
    site.cluster.sql("UPDATE untouched SET word = 'seen' WHERE n % 997 = 0")
    catch_up(site.cluster, standby)
    with ending_segments(site.cluster):
        told, used = incremental(site, **address(standby))
        assert used == supported
        read = site.module("pg_backup", type="full", **address(standby))["backup"]["id"]
    assert pages(site, told) == pages(site, read) != pages(site, lagging)

    site.cluster.stop()
    standby.postgres.run("pg_ctl", "promote", "--wait", "--pgdata", standby.data_directory)
    standby.sql("UPDATE touched SET word = 'promoted' WHERE n % 997 = 0")
    promoted, used = incremental(site, **address(standby))
    assert not used
    site.cluster.start()  # whoever was left behind does not know it
    site.refused("timeline_left_behind", "pg_backup")
    restored = new_place()
    where = {"destination": restored.data_directory, "port": restored.port, "socket_directory": restored.socket_dir}
    site.module("pg_restore", backup=promoted, target_immediate=True, **where)
    assert sorted(restored.sql(SUMS)) == sorted(standby.sql(SUMS))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(("spoil", "said"), [(flip, "of a kind that is not known"), (Path.unlink, "")])
def test_where_one_is_damaged_or_missing_everything_is_read(
    noting: Site, spoil: Callable[[Path], None], said: str
) -> None:
    """Nothing is lost by it, and nothing fails."""
    site = noting
    site.cluster.sql("UPDATE touched SET word = 'y' WHERE n % 997 = 0; CHECKPOINT")
    for path in (site.cluster.data_directory / "pg_wal/summaries").glob("*"):
        spoil(path)
    done = site.playbook(task("pg_backup", type="incremental"), progress=True)
    assert BY_SUMMARIES not in done.output
    assert said in done.output or site.cluster.postgres.major < SUMMARIES_SINCE
    equals = {"name": "all", "database": "app", "query": "SELECT count(*) FROM touched WHERE word = 'y'", "equals": 30}
    site.play(task("backup_verify", level="restore", backup=site.backup_ids()[-1], assertions=[equals]))
