# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files as people's scripts leave them, made by the programs that they use: recognised, opened, checked."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.foreign.files import (
    Description,
    Options,
    TablesOfDump,
    Tools,
    Unlocking,
    Verification,
    describe,
    opened,
    verify,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.programs import Programs
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.process import Runner
from harness import Cluster, Postgres, run
from harness.machine import cannot_be_had, server_folder

PASSPHRASE = "tea: 4 o'clock @ 5% ü"
OPENSSL = {
    "pbkdf2, 10000 iterations, sha256": ("-pbkdf2",),
    "older, sha256": (),
    "older, md5": ("-md", "md5"),
}
PROGRAMS = ("gpg", "openssl", "zstd", "lz4", "bzip2", "xz")
RUNNER = Runner()


@pytest.fixture(scope="module")
def source(postgres: Postgres) -> Iterator[Cluster]:
    with postgres.clone("source") as cluster:
        yield cluster


@pytest.fixture(scope="module")
def folder(source: Cluster) -> Path:
    return server_folder(source.root / "files")


@pytest.fixture(scope="module")
def sql_dump(source: Cluster, folder: Path) -> Path:
    return made(source, folder / "dump", "pg_dump", "--dbname=app", "--file")


@pytest.fixture
def tools(postgres: Postgres, tmp_path: Path) -> Tools:
    return Tools(RUNNER, lambda major: Programs(postgres.bin_dir, postgres.major), tmp_path)


def made(cluster: Cluster, path: Path, *command: str) -> Path:
    """Have one of PostgreSQL's programs write to `path`."""
    program, *options = command
    cluster.run(program, *options, path)
    return path


def shell(script: str, *files: Path) -> Path:
    """Run a script with the files as $1, $2, ...; the last one is what it makes."""
    for program in PROGRAMS:
        if f"{program} " in script and not shutil.which(program):
            cannot_be_had(f"this machine has no {program}")
    run(["sh", "-c", script, "sh", *files, PASSPHRASE])
    return files[-1]


def unlocking(passphrase: str | None = PASSPHRASE) -> Unlocking:
    return Unlocking(passphrase)


def encrypted_by_gpg(path: Path, target: Path, *options: str) -> Path:
    home = target.with_name(target.name + ".home")
    home.mkdir(mode=0o700)
    script = (
        f'printf %s "$3" | gpg --homedir {home} --batch --pinentry-mode loopback --passphrase-fd 0'
        f' --symmetric --cipher-algo AES256 {" ".join(options)} --output "$2" "$1";'
        f" status=$?; gpgconf --homedir {home} --kill gpg-agent; exit $status"
    )
    return shell(script, path, target)


def encrypted_by_openssl(path: Path, target: Path, *options: str) -> Path:
    return shell(f'openssl enc -aes-256-cbc {" ".join(options)} -pass "pass:$3" -in "$1" -out "$2" 2>&1', path, target)


def layers(description: Description) -> list[str]:
    return [layer.name for layer in description.layers]


def read(path: Path, unlocking: Unlocking) -> bytes:
    with opened(path, RUNNER, unlocking, "reading") as file:
        return b"".join(file.pieces)


def code(action: Callable[[], object]) -> str:
    with pytest.raises(LifeboatError) as caught:
        action()
    return caught.value.code


def verdicts(verification: Verification) -> dict[str, bool | None]:
    return {check.name: check.good for check in verification.checks}


@pytest.mark.parametrize(
    ("name", "command"),
    [("gzip", "gzip -c"), ("zstd", "zstd -q -c"), ("bzip2", "bzip2 -c"), ("xz", "xz -c"), ("lz4", "lz4 -q -c")],
)
def test_compressed_dumps(sql_dump: Path, tools: Tools, tmp_path: Path, name: str, command: str) -> None:
    packed = shell(f'{command} "$1" >"$2"', sql_dump, tmp_path / "called.txt")
    described = describe(packed, RUNNER, unlocking(None))
    assert (layers(described), described.payload.kind) == ([name], "sql")
    assert read(packed, unlocking(None)) == sql_dump.read_bytes()
    assert verdicts(verify(packed, unlocking(None), tools)) == {"complete": True, "readable": True}

    packed.write_bytes(packed.read_bytes()[:-1000])
    broken = verify(packed, unlocking(None), tools)
    assert not broken.is_good
    assert broken.checks[0].code in {"foreign_file_truncated", "foreign_file_damaged"}


def test_members_one_after_the_other_are_all_read(sql_dump: Path, tmp_path: Path) -> None:
    whole = sql_dump.read_bytes()
    parts = (whole[:100], whole[100:5000], whole[5000:])
    (tmp_path / "file").write_bytes(b"".join(gzip.compress(part) for part in parts) + bytes(512))
    assert read(tmp_path / "file", unlocking(None)) == whole
    zstd = shell('{ head -c 99 "$1" | zstd -q -c; tail -c +100 "$1" | zstd -q -c; } >"$2"', sql_dump, tmp_path / "zst")
    assert read(zstd, unlocking(None)) == whole


@pytest.mark.parametrize("options", [[], ["--armor"], ["--compress-algo", "none"]])
def test_gpg(sql_dump: Path, tools: Tools, tmp_path: Path, options: list[str]) -> None:
    packed = shell('gzip -c "$1" >"$2"', sql_dump, tmp_path / "packed")
    secret = encrypted_by_gpg(packed, tmp_path / "secret", *options)
    hidden = describe(secret, RUNNER, unlocking(None))
    assert (layers(hidden), hidden.is_encrypted, hidden.payload.kind) == (["openpgp"], True, "unknown")
    described = describe(secret, RUNNER, unlocking())
    assert (layers(described), described.payload.kind) == (["openpgp", "gzip"], "sql")
    assert read(secret, unlocking()) == sql_dump.read_bytes()
    assert verify(secret, unlocking(), tools).is_good
    assert code(lambda: read(secret, unlocking("wrong"))) == "foreign_passphrase_wrong"
    assert code(lambda: verify(secret, unlocking(None), tools)) == "foreign_passphrase_missing"
    secret.write_bytes(secret.read_bytes()[:-500])
    assert not verify(secret, unlocking(), tools).is_good
    assert not list(Path("/tmp").glob("lifeboat-gpg-*"))


@pytest.mark.parametrize("derivation", OPENSSL)
def test_openssl(sql_dump: Path, tools: Tools, tmp_path: Path, derivation: str) -> None:
    packed = shell('gzip -c "$1" >"$2"', sql_dump, tmp_path / "packed")
    for plain in (packed, sql_dump):
        secret = encrypted_by_openssl(plain, tmp_path / "secret", *OPENSSL[derivation])
        described = describe(secret, RUNNER, unlocking())
        assert (described.layers[0].name, described.layers[0].detail) == ("openssl", derivation)
        assert described.payload.kind == "sql"
        assert read(secret, unlocking()) == sql_dump.read_bytes()
    assert verify(secret, unlocking(), tools).is_good
    assert code(lambda: read(secret, unlocking("wrong"))) == "foreign_passphrase_wrong"
    for cut in (16, 100):
        secret.write_bytes(secret.read_bytes()[:-cut])
        assert [check.code for check in verify(secret, unlocking(), tools).checks] == ["foreign_file_truncated"]


def test_archives_of_pg_dump(source: Cluster, folder: Path, tools: Tools, tmp_path: Path) -> None:
    for letter, kind in (("c", "archive"), ("t", "archive_tar"), ("d", "archive_directory")):
        path = made(source, folder / letter, "pg_dump", "--dbname=app", f"--format={letter}", "--file")
        payload = describe(path, RUNNER, unlocking(None)).payload
        assert (payload.kind, payload.database) == (kind, "app")
        assert (payload.server_version or "").startswith(source.postgres.version)
        assert payload.made_at
        if letter == "d":
            assert verdicts(verify(path, unlocking(None), tools)) == {"contents": True, "data": True}
            next(path.glob("*.dat.gz")).unlink()
            assert verdicts(verify(path, unlocking(None), tools)) == {"contents": True, "data": False}
            continue
        packed = shell('gzip -c "$1" >"$2"', path, tmp_path / "x.dump.gz")
        secret = encrypted_by_gpg(packed, tmp_path / f"{letter}.gpg")
        for file in (path, packed, secret):
            good = {"contents": True, "data": True, "readable": True}
            assert verdicts(verify(file, unlocking(), tools)) == good
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert not verify(path, unlocking(None), tools).is_good


def test_tables_out_of_an_encrypted_dump(sql_dump: Path, folder: Path, source: Cluster, tmp_path: Path) -> None:
    packed = shell('gzip -c "$1" >"$2"', sql_dump, tmp_path / "packed")
    secret = encrypted_by_gpg(packed, tmp_path / "secret")
    tables = TablesOfDump(secret, RUNNER, unlocking(), ["orders"])
    (folder / "orders.sql").write_bytes(b"".join(tables.script(Options())))
    source.sql("CREATE DATABASE again", db="postgres")
    source.run("psql", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname=again", "--file", folder / "orders.sql")
    query = "SELECT count(*), md5(string_agg(orders::text, ',' ORDER BY id)) FROM orders"
    assert source.sql(query, db="again") == source.sql(query)
    assert code(lambda: TablesOfDump(secret, RUNNER, unlocking(), ["order"])) == "table_not_in_dump"


def test_base_backups(source: Cluster, folder: Path, tools: Tools) -> None:
    plain = folder / "plain"
    source.run("pg_basebackup", "--wal-method=stream", "--checkpoint=fast", "--pgdata", plain)
    assert describe(plain, RUNNER, unlocking(None)).payload.kind == "data_directory"
    assert verdicts(verify(plain, unlocking(None), tools)) == {"manifest": True}
    with (plain / "PG_VERSION").open("a") as file:
        file.write("\n")
    assert verdicts(verify(plain, unlocking(None), tools)) == {"manifest": False}

    packed = folder / "packed"
    source.run("pg_basebackup", "--format=tar", "--gzip", "--checkpoint=fast", "--pgdata", packed)
    assert describe(packed, RUNNER, unlocking(None)).payload.kind == "base_backup"
    assert verdicts(verify(packed, unlocking(None), tools)) == {"base.tar.gz": True, "pg_wal.tar.gz": True}
    base = packed / "base.tar.gz"
    assert describe(base, RUNNER, unlocking(None)).payload.kind == "base_backup_tar"
    base.write_bytes(base.read_bytes()[:-5000])
    assert verdicts(verify(packed, unlocking(None), tools)) == {"base.tar.gz": False, "pg_wal.tar.gz": True}


def test_an_archive_of_wal_made_by_cp_and_gzip(source: Cluster, tools: Tools, tmp_path: Path) -> None:
    archive = tmp_path / "wal"
    archive.mkdir()
    for number in range(4):
        name = str(source.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")[0][0])
        source.sql(f"CREATE TABLE switched_{number} (); SELECT pg_switch_wal()")
        shutil.copy(source.data_directory / "pg_wal" / name, archive)
        if number % 2:
            run(["gzip", archive / name])
    described = describe(archive, RUNNER, unlocking(None))
    assert described.payload.kind == "wal_archive"
    assert described.wal
    assert (described.wal.segments, described.wal.compressed) == (4, 2)
    assert verdicts(verify(archive, unlocking(None), tools)) == {"segments": True}
    first, second, third, _rest = sorted(archive.iterdir())
    second.unlink()
    assert verdicts(verify(archive, unlocking(None), tools)) == {"gap": False, "segments": True}
    third.write_bytes(third.read_bytes()[:8192])
    assert verdicts(verify(archive, unlocking(None), tools))[third.name] is False
    first.rename(second)  # a segment under another's name
    assert verdicts(verify(archive, unlocking(None), tools))["segments"] is False


def test_sqlite_databases(tools: Tools, tmp_path: Path) -> None:
    path = tmp_path / "dev.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [(f"row {n}" * 20,) for n in range(5000)])
    connection.close()
    packed = shell('gzip -c "$1" >"$2"', path, tmp_path / "x.db.gz")
    assert describe(packed, RUNNER, unlocking(None)).payload.kind == "sqlite"
    assert verdicts(verify(packed, unlocking(None), tools)) == {"integrity": True, "readable": True}
    damaged = bytearray(path.read_bytes())
    damaged[8192:40000] = bytes(40000 - 8192)
    path.write_bytes(damaged)
    assert verdicts(verify(path, unlocking(None), tools))["integrity"] is False
    assert sorted(each.name for each in tmp_path.iterdir()) == ["dev.db", "x.db.gz"]


def test_tar_files_of_anything(sql_dump: Path, tools: Tools, tmp_path: Path) -> None:
    path = shell('tar -czf "$2" -C "$(dirname "$1")" dump', sql_dump, tmp_path / "files.tar.gz")
    described = describe(path, RUNNER, unlocking(None))
    assert (layers(described), described.payload.kind) == (["gzip"], "file_set")
    assert verify(path, unlocking(None), tools).is_good
    cut = gzip.decompress(path.read_bytes())[:-20000]
    path.write_bytes(gzip.compress(cut))
    assert verdicts(verify(path, unlocking(None), tools))["content"] is False


def test_a_dump_without_its_end_is_not_complete(sql_dump: Path, tools: Tools, tmp_path: Path) -> None:
    assert describe(sql_dump, RUNNER, unlocking(None)).payload.is_complete is True
    whole = sql_dump.read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(whole[: whole.rindex(b"-- PostgreSQL database dump complete")])
    assert describe(cut, RUNNER, unlocking(None)).payload.is_complete is False
    assert verdicts(verify(cut, unlocking(None), tools))["complete"] is False


def test_what_is_nothing_of_this_is_refused(tools: Tools, tmp_path: Path) -> None:
    for content in (b"", b"\x7fELF\x00\x01", b"Dear all,\n", "SET x = 1;".encode("utf-16")):
        (tmp_path / "dump.sql").write_bytes(content)
        assert code(lambda: verify(tmp_path / "dump.sql", unlocking(None), tools)) == "foreign_format_unknown"
    assert code(lambda: verify(tmp_path, unlocking(None), tools)) == "foreign_format_unknown"
    assert code(lambda: verify(tmp_path / "missing", unlocking(None), tools)) == "foreign_file_unreadable"
