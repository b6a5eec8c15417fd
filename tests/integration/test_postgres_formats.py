# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's reading of PostgreSQL's files, judged by PostgreSQL's own programs and files."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import IntegrityError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres import (
    control_file,
    data_directory,
    pg_manifest,
    wal_names,
    wal_page,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.control_file import (
    ClusterState,
    ControlFile,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.data_directory import EntryKind
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.pages import (
    PAGE_BYTES,
    PAGES_PER_SEGMENT,
    PageProblem,
    bad_pages,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.pg_manifest import (
    ManifestFile,
    WalRange,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.wal_names import WalFileKind
from harness import Cluster, Postgres, RunFolder, server_folder, wait_until

pytestmark = pytest.mark.every_version

MIB = 1 << 20
Clone = Callable[[str], Cluster]
BadBlock = tuple[str, int, int, int]  # file, block in it, checksum of the content, checksum in the page


@pytest.fixture
def unusual(postgres: Postgres, run_folder: RunFolder) -> Iterator[Cluster]:
    """A cluster with WAL segments of 1 MiB and without data checksums."""
    root = server_folder(run_folder.path / f"unusual-{postgres.major}")
    cluster = Cluster(postgres, root / "data", socket_dir=server_folder(root / "s", mode=0o700))
    options = ["--username", "postgres", "--auth", "trust", "--no-sync", "--wal-segsize", "1"]
    if postgres.major >= 18:
        options += ["--no-data-checksums"]
    postgres.run("initdb", "--pgdata", cluster.data_directory, *options)
    cluster.write_own_settings()
    with cluster:
        yield cluster


@pytest.fixture
def standby_of(postgres: Postgres) -> Callable[[Cluster], Cluster]:
    """Makes a standby that streams from a cluster, to be started as a context manager and gone before it."""

    def make(primary: Cluster) -> Cluster:
        root = server_folder(primary.data_directory.parent / "standby")
        primary.run("pg_basebackup", "--pgdata", root / "data", "--checkpoint", "fast", "--write-recovery-conf")
        standby = Cluster(postgres, root / "data", socket_dir=server_folder(root / "s", mode=0o700))
        standby.write_own_settings()
        return standby

    return make


def catch_up(primary: Cluster, standby: Cluster) -> None:
    """Wait until a standby has replayed what its primary has written."""
    position = primary.sql("SELECT pg_current_wal_lsn()::text")[0][0]
    replayed = "SELECT pg_last_wal_replay_lsn() >= %(position)s::pg_lsn"
    wait_until(lambda: standby.sql(replayed, position=position) == [(True,)], "the standby had caught up")


# The control file


def in_pg_controldatas_words(control: ControlFile) -> dict[str, str]:
    return {
        "Database system identifier": str(control.system_identifier),
        "Catalog version number": str(control.catalog_version),
        "Database cluster state": control.state.value,
        "Latest checkpoint location": wal_names.format_lsn(control.checkpoint_lsn),
        "Latest checkpoint's REDO location": wal_names.format_lsn(control.redo_lsn),
        "Latest checkpoint's TimeLineID": str(control.timeline),
        "Latest checkpoint's PrevTimeLineID": str(control.prev_timeline),
        "Time of latest checkpoint": f"{control.checkpoint_time:%a %b %e %H:%M:%S %Y}",
        "Minimum recovery ending location": wal_names.format_lsn(control.min_recovery_end_lsn),
        "Min recovery ending loc's timeline": str(control.min_recovery_end_timeline),
        "wal_level setting": control.wal_level,
        "max_connections setting": str(control.max_connections),
        "max_worker_processes setting": str(control.max_worker_processes),
        "max_wal_senders setting": str(control.max_wal_senders),
        "max_prepared_xacts setting": str(control.max_prepared_transactions),
        "max_locks_per_xact setting": str(control.max_locks_per_transaction),
        "track_commit_timestamp setting": "on" if control.track_commit_timestamp else "off",
        "Database block size": str(control.block_size),
        "Blocks per segment of large relation": str(control.pages_per_segment),
        "Bytes per WAL segment": str(control.wal_segment_size),
        "Data page checksum version": str(control.data_checksum_version),
    }


def read_as_pg_controldata_does(postgres: Postgres, directory: Path) -> ControlFile:
    """The control file, once all its fields are what pg_controldata prints."""
    printed = postgres.run("pg_controldata", "--pgdata", directory, env={"TZ": "UTC"}).stdout
    theirs = {label: value.strip() for label, _ignored, value in (line.partition(":") for line in printed.splitlines())}
    control = control_file.read(directory)
    ours = in_pg_controldatas_words(control)
    assert ours == {label: theirs[label] for label in ours}
    return control


def test_a_control_files_fields_are_what_pg_controldata_says(postgres: Postgres, cluster: Cluster) -> None:
    limits = {
        "max_connections": 33,
        "max_worker_processes": 7,
        "max_wal_senders": 5,
        "max_prepared_transactions": 11,
        "max_locks_per_transaction": 77,
    }
    cluster.set(**limits, wal_level="logical", track_commit_timestamp="on")
    cluster.restart()
    running = read_as_pg_controldata_does(postgres, cluster.data_directory)
    assert {name: getattr(running, name) for name in limits} == limits
    assert running.state is ClusterState.IN_PRODUCTION
    assert abs((datetime.now(timezone.utc) - running.checkpoint_time).total_seconds()) < 3600
    cluster.stop()
    assert read_as_pg_controldata_does(postgres, cluster.data_directory).state is ClusterState.SHUT_DOWN
    assert control_file.version(cluster.data_directory) == postgres.major


def test_a_standbys_control_file(
    postgres: Postgres, cluster: Cluster, standby_of: Callable[[Cluster], Cluster]
) -> None:
    with standby_of(cluster) as standby:
        cluster.sql("CREATE TABLE more AS SELECT generate_series(1, 1000)")
        cluster.sql("CHECKPOINT")
        catch_up(cluster, standby)
        standby.sql("CHECKPOINT")
        control = read_as_pg_controldata_does(postgres, standby.data_directory)
        assert control.state is ClusterState.IN_ARCHIVE_RECOVERY
        assert control.min_recovery_end_lsn > 0
        assert control.min_recovery_end_timeline == 1


def test_a_control_file_under_constant_writing_is_always_read_whole(cluster: Cluster) -> None:
    seen: set[int] = set()
    for _ignored in range(20):
        cluster.sql("SELECT txid_current(); CHECKPOINT")
        seen.update(control_file.read(cluster.data_directory).checkpoint_lsn for _ignored in range(20))
    assert len(seen) == 20


# WAL


def assert_names_agree(cluster: Cluster, size: int) -> None:
    """Ask the server for the names of segments, most of them far in its future."""
    for lsn in (1, size - 1, size + 1, 0x16B3748, 0xFFFFFFFF, 0x100000001, (5 << 32) + 7 * size + 40, 1 << 62 | 9):
        text = wal_names.format_lsn(lsn)
        query = "SELECT pg_walfile_name(%(lsn)s::pg_lsn), %(lsn)s::pg_lsn::text"
        assert cluster.sql(query, db="postgres", lsn=text) == [(wal_names.segment_of(lsn, 1, size).name, text)]
        assert wal_names.parse_lsn(text) == lsn


def test_segments_have_the_names_that_the_server_gives_them(cluster: Cluster) -> None:
    assert_names_agree(cluster, 16 * MIB)


def test_small_segments_and_their_names(postgres: Postgres, unusual: Cluster) -> None:
    control = read_as_pg_controldata_does(postgres, unusual.data_directory)
    assert control.wal_segment_size == MIB
    assert not control.data_checksums
    assert_names_agree(unusual, MIB)


def heads_of_segments(cluster: Cluster) -> dict[str, bytes]:
    """The first bytes of all segments and partial segments in pg_wal."""
    kinds = (WalFileKind.SEGMENT, WalFileKind.PARTIAL)
    files = sorted(
        path for path in (cluster.data_directory / "pg_wal").iterdir() if wal_names.classify(path.name) in kinds
    )
    return {path.name: path.read_bytes()[: wal_page.HEADER_BYTES] for path in files}


def code_of_refusal(head: bytes, name: str, identifier: int, version: int, size: int) -> str:
    with pytest.raises(IntegrityError) as caught:
        wal_page.check_segment(head, name, identifier, version, size)
    return caught.value.code


def test_written_segments_are_told_from_recycled_and_foreign_ones(postgres: Postgres, unusual: Cluster) -> None:
    for _ignored in range(6):
        unusual.sql("SELECT txid_current(), pg_switch_wal()", db="postgres")
        unusual.sql("CHECKPOINT", db="postgres")
    identifier = control_file.read(unusual.data_directory).system_identifier
    last_written = unusual.sql("SELECT pg_walfile_name(pg_current_wal_lsn())", db="postgres")[0][0]
    refusals = []
    for name, head in heads_of_segments(unusual).items():
        if name <= last_written:
            assert wal_page.check_segment(head, name, identifier, postgres.major, MIB).timeline == 1
            assert code_of_refusal(head, name, identifier + 1, postgres.major, MIB) == "wal_foreign_system"
        else:
            refusals.append(code_of_refusal(head, name, identifier, postgres.major, MIB))
    assert "wal_wrong_name" in refusals
    assert set(refusals) <= {"wal_wrong_name", "wal_not_a_segment"}


def test_segments_around_a_promotion(
    postgres: Postgres, cluster: Cluster, standby_of: Callable[[Cluster], Cluster]
) -> None:
    cluster.set(archive_mode="on", archive_command="false")  # keeps the partial segment where it is
    with standby_of(cluster) as standby:
        cluster.sql("CREATE TABLE more AS SELECT generate_series(1, 1000)")
        catch_up(cluster, standby)
        standby.sql("SELECT pg_promote()")
        identifier = control_file.read(standby.data_directory).system_identifier
        wal = standby.data_directory / "pg_wal"
        wait_until(lambda: any(wal.glob("*.partial")), "the old timeline's last segment was set aside")
        heads = heads_of_segments(standby)
        (partial,) = (name for name in heads if name.endswith(".partial"))
        first_of_new_timeline = min(name for name in heads if wal_names.timeline_of(name) == 2)
        for name in (partial, first_of_new_timeline):
            assert wal_page.check_segment(heads[name], name, identifier, postgres.major, 16 * MIB).timeline == 1
        history = wal_names.history_name(2)
        assert wal_names.classify(history) is WalFileKind.HISTORY
        content = (wal / history).read_bytes()
        assert code_of_refusal(content, partial, identifier, postgres.major, 16 * MIB) == "wal_not_a_segment"


# Pages


def relation_files(directory: Path) -> list[Path]:
    """Every file with pages of relations."""
    return [
        directory / entry.path
        for entry in data_directory.scan(directory)
        if data_directory.relation_segment(entry.path)
    ]


def found_by_us(directory: Path) -> set[BadBlock]:
    found = set()
    for path in relation_files(directory):
        name = str(path.relative_to(directory))
        segment = data_directory.relation_segment(name)
        assert segment
        for bad in bad_pages(path.read_bytes(), segment.first_block, checksums=True):
            assert bad.expected is not None
            found.add((name, bad.block - segment.first_block, bad.expected, bad.found))
    return found


def found_by_pg_checksums(postgres: Postgres, directory: Path) -> set[BadBlock]:
    done = postgres.run("pg_checksums", "--check", "--pgdata", directory, check=False)
    line = re.compile(r'failed in file "(.*)", block (\d+): calculated checksum (\w+) but block contains (\w+)')
    found = {
        (os.path.relpath(file, directory), int(block), int(calculated, 16), int(contained, 16))
        for file, block, calculated, contained in line.findall(done.stderr)
    }
    assert done.returncode == bool(found), done.stderr
    return found


@pytest.fixture
def varied(cluster: Cluster) -> Cluster:
    """A cluster with pages of all kinds, in a tablespace of its own too; stopped."""
    fast = server_folder(cluster.data_directory.parent / "fast")
    cluster.sql(f"CREATE TABLESPACE fast LOCATION '{fast}'")
    cluster.sql("CREATE TABLE wide AS SELECT n, repeat(md5(n::text), 100) AS text FROM generate_series(1, 3000) AS n")
    cluster.sql("CREATE INDEX ON wide USING gin (to_tsvector('simple', text)); CREATE INDEX ON wide USING brin (n)")
    cluster.sql("CREATE INDEX ON orders USING gist (point(id, 1)) TABLESPACE fast")
    cluster.sql("CREATE INDEX ON orders USING hash (customer); CREATE INDEX ON orders USING spgist (customer)")
    cluster.sql("UPDATE orders SET amount = amount + 1; CREATE SEQUENCE numbers; SELECT nextval('numbers')")
    cluster.sql("VACUUM")
    cluster.stop()
    return cluster


def filled_pages(directory: Path) -> Iterator[tuple[Path, int]]:
    """The files and offsets of pages whose upper limit is set; pg_checksums takes all others for new."""
    for path in relation_files(directory):
        content = path.read_bytes()
        for start in range(0, len(content), PAGE_BYTES):
            if content[start + 14 : start + 16] != bytes(2):
                yield path, start


def test_bad_pages_are_those_that_pg_checksums_finds(postgres: Postgres, varied: Cluster) -> None:
    blocks = sum(path.stat().st_size // PAGE_BYTES for path in relation_files(varied.data_directory))
    printed = postgres.run("pg_checksums", "--check", "--pgdata", varied.data_directory).stdout
    assert re.findall(r"^Blocks scanned: +(\d+)$", printed, re.MULTILINE) == [str(blocks)]
    assert found_by_us(varied.data_directory) == set()

    chance = random.Random(postgres.major)
    for path, start in chance.sample(list(filled_pages(varied.data_directory)), 300):
        position = start + chance.choice([*range(14), *range(16, PAGE_BYTES)])
        with path.open("r+b") as stream:
            stream.seek(position)
            (byte,) = stream.read(1)
            stream.seek(position)
            stream.write(bytes([byte ^ 1 << chance.randrange(8)]))
    theirs = found_by_pg_checksums(postgres, varied.data_directory)
    assert len(theirs) > 290  # a few changes may hit upon the same checksum
    assert any(name.startswith("pg_tblspc/") for name, *_ignored in theirs)
    assert found_by_us(varied.data_directory) == theirs


def test_the_second_gigabyte_of_a_relation(postgres: Postgres, varied: Cluster) -> None:
    first = next(path for path in relation_files(varied.data_directory) if path.stat().st_size > 2 * PAGE_BYTES)
    second = first.with_name(f"{first.name}.1")
    page = first.read_bytes()[:PAGE_BYTES]
    second.write_bytes(page)
    ours = found_by_us(varied.data_directory)
    assert ours == found_by_pg_checksums(postgres, varied.data_directory)
    ((name, block, expected, _ignored),) = ours
    assert (name, block) == (str(second.relative_to(varied.data_directory)), 0)
    second.write_bytes(page[:8] + expected.to_bytes(2, "little") + page[10:])
    assert found_by_pg_checksums(postgres, varied.data_directory) == set()
    assert bad_pages(second.read_bytes(), PAGES_PER_SEGMENT, checksums=True) == []


def test_without_checksums_the_server_refuses_the_pages_that_we_do(unusual: Cluster) -> None:
    unusual.sql("CREATE TABLE t AS SELECT n FROM generate_series(1, 1000) AS n", db="postgres")
    path = unusual.data_directory / unusual.sql("SELECT pg_relation_filepath('t')", db="postgres")[0][0]
    unusual.stop()
    assert all(
        bad_pages(file.read_bytes(), 0, checksums=False) == [] for file in relation_files(unusual.data_directory)
    )
    content = bytearray(path.read_bytes())
    content[0:PAGE_BYTES] = bytes(PAGE_BYTES)  # new
    content[PAGE_BYTES : PAGE_BYTES + 24] = bytes(24)  # not empty
    content[2 * PAGE_BYTES + 13] ^= 0x40  # lower
    content[3 * PAGE_BYTES + 16] ^= 0x04  # special
    path.write_bytes(content)
    problems = {bad.block: bad.problem for bad in bad_pages(content, 0, checksums=False)}
    assert problems == {1: PageProblem.NOT_EMPTY, 2: PageProblem.HEADER, 3: PageProblem.HEADER}
    unusual.start()
    for block in range(5):
        query = f"SELECT n FROM t WHERE ctid = '({block}, 1)'"
        if block in problems:
            with pytest.raises(psycopg.Error, match=f"invalid page in block {block}"):
                unusual.sql(query, db="postgres")
        else:
            assert len(unusual.sql(query, db="postgres")) == (block != 0)


# The data directory and PostgreSQL's manifest


@pytest.fixture
def crowded(clone: Clone) -> Iterator[Cluster]:
    """A server whose data directory has all that a backup takes and much that it does not."""
    cluster = clone("crowded")
    data = cluster.data_directory
    cluster.set(autovacuum="off")
    cluster.stop()
    shutil.move(data / "pg_wal", data.parent / "wal")
    (data / "pg_wal").symlink_to(data.parent / "wal")
    cluster.start()
    for name, location in (("outside", data.parent / "outside"), ("inside", data / "spaces")):
        server_folder(location)
        cluster.sql(f"CREATE TABLESPACE {name} LOCATION '{location}'")
        cluster.sql(f"CREATE TABLE in_{name} TABLESPACE {name} AS SELECT generate_series(1, 1000) AS n")
        cluster.sql(f"CREATE UNLOGGED TABLE unlogged_{name} (n int PRIMARY KEY, text text) TABLESPACE {name}")
        cluster.sql(f"INSERT INTO unlogged_{name} SELECT generate_series(1, 1000)")
    cluster.sql("SELECT pg_create_physical_replication_slot('slot')")
    cluster.sql("VACUUM")
    cluster.sql("CHECKPOINT")
    left_out = ("pgsql_tmp/pgsql_tmp1.0", "pg_stat_tmp/x", "pg_notify/x", "current_logfiles.tmp", "tablespace_map")
    taken = ("log/server.log", "backup_label.old", ".hidden", 'odd "\\\n\x01\x7f name', "grün", os.fsdecode(b"caf\xe9"))
    for path in (*(f"base/{name}" if name.startswith("pgsql") else name for name in left_out), *taken):
        (data / path).parent.mkdir(exist_ok=True)
        (data / path).write_bytes(os.fsencode(path))
    with cluster.connect() as session:
        session.execute("CREATE TEMPORARY TABLE temporary AS SELECT generate_series(1, 1000) AS n")
        session.execute("CREATE TEMPORARY TABLE temporary_outside TABLESPACE outside AS TABLE temporary")
        yield cluster


def base_backup(cluster: Cluster, *options: str) -> Path:
    """What pg_basebackup takes, tablespaces beside it."""
    root = server_folder(cluster.data_directory.parent / "backup")
    for location in (cluster.data_directory.parent / "outside", cluster.data_directory / "spaces"):
        options += ("--tablespace-mapping", f"{location}={root / location.name}")
    cluster.run("pg_basebackup", "--pgdata", root / "data", "--checkpoint", "fast", *options)
    return root / "data"


def tree(directory: Path) -> tuple[set[str], dict[str, int]]:
    """All directories, and all files with their sizes; a linked directory is one."""
    directories: set[str] = set()
    files: dict[str, int] = {}
    for folder, names, file_names in os.walk(directory, followlinks=True):
        below = Path(folder).relative_to(directory)
        directories.update(str(below / name) for name in names)
        files.update({str(below / name): (Path(folder) / name).stat().st_size for name in file_names})
    return directories, files


def test_a_scan_finds_what_pg_basebackup_takes(crowded: Cluster) -> None:
    entries = list(data_directory.scan(crowded.data_directory))
    copy = base_backup(crowded, "--wal-method", "none", "--no-manifest")
    directories, files = tree(copy)
    del files["backup_label"]
    del files[control_file.CONTROL_FILE]
    assert {entry.path: entry.size for entry in entries if entry.kind is EntryKind.FILE} == files
    assert {entry.path for entry in entries if entry.kind is not EntryKind.FILE} == directories
    links = {entry.path: entry.target for entry in entries if entry.target}
    parent = crowded.data_directory.parent
    assert links.pop("pg_wal") == str(parent / "wal")
    assert set(links) == {str(path.relative_to(copy)) for path in (copy / "pg_tblspc").iterdir()}
    assert set(links.values()) == {str(parent / "outside"), str(crowded.data_directory / "spaces")}


def listed_by(manifest: dict[str, Any]) -> Iterator[ManifestFile]:
    """The files of a manifest that PostgreSQL wrote."""
    for file in manifest["Files"]:
        path = file["Path"] if "Path" in file else os.fsdecode(bytes.fromhex(file["Encoded-Path"]))
        modified = datetime.strptime(file["Last-Modified"], "%Y-%m-%d %H:%M:%S GMT").replace(tzinfo=timezone.utc)
        mtime_ns = int(modified.timestamp()) * 10**9
        yield ManifestFile(path, file["Size"], mtime_ns, file["Checksum-Algorithm"], file["Checksum"])


def ranges_of(manifest: dict[str, Any]) -> list[WalRange]:
    return [
        WalRange(part["Timeline"], wal_names.parse_lsn(part["Start-LSN"]), wal_names.parse_lsn(part["End-LSN"]))
        for part in manifest["WAL-Ranges"]
    ]


def test_a_manifest_is_written_as_postgresql_writes_it(postgres: Postgres, crowded: Cluster) -> None:
    copy = base_backup(crowded)
    theirs = (copy / pg_manifest.MANIFEST_FILE).read_bytes()
    manifest = json.loads(theirs)
    assert any("Encoded-Path" in file for file in manifest["Files"])
    identifier = control_file.read(copy).system_identifier
    ours = b"".join(pg_manifest.render(postgres.major, identifier, listed_by(manifest), ranges_of(manifest)))
    assert ours == theirs


def test_pg_verifybackup_judges_by_our_manifest(postgres: Postgres, crowded: Cluster) -> None:
    copy = base_backup(crowded)
    manifest_file = copy / pg_manifest.MANIFEST_FILE
    ranges = ranges_of(json.loads(manifest_file.read_bytes()))

    def measured(path: str) -> ManifestFile:
        status = (copy / path).stat()
        return ManifestFile(
            path, status.st_size, status.st_mtime_ns, "SHA256", hashlib.sha256((copy / path).read_bytes()).hexdigest()
        )

    def write(paths: list[str]) -> None:
        identifier = control_file.read(copy).system_identifier
        manifest_file.write_bytes(
            b"".join(pg_manifest.render(postgres.major, identifier, map(measured, paths), ranges))
        )

    scanned = [entry.path for entry in data_directory.scan(copy) if entry.kind is EntryKind.FILE]
    everything = [*scanned, "backup_label", control_file.CONTROL_FILE]
    write(everything)
    postgres.run("pg_verifybackup", copy)

    write(everything[1:])
    assert "is present on disk but not in the manifest" in refusal(postgres, copy)
    write(everything)
    with (copy / "PG_VERSION").open("r+b") as stream:
        stream.write(b"9")
    assert "checksum mismatch for file" in refusal(postgres, copy)
    manifest_file.write_bytes(manifest_file.read_bytes().replace(b'"Size": 3', b'"Size": 4', 1))
    assert "manifest checksum mismatch" in refusal(postgres, copy)


def refusal(postgres: Postgres, copy: Path) -> str:
    """Why pg_verifybackup does not accept a backup."""
    done = postgres.run("pg_verifybackup", copy, check=False)
    assert done.returncode == 1
    return done.stderr
