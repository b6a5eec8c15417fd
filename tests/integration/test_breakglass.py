# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No lock-in: one script restores everything with nothing of Lifeboat around; PostgreSQL's own tools do the rest."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import CHECKOUT, PROGRAMS, Cluster, Postgres, run, server_folder, server_user
from harness.playbooks import Ansible
from support import Site, start_and_recover, summarizing, task

WORDS = "correct horse battery staple"


@dataclass(frozen=True)
class Rescue:
    """A cluster's repository, what it held when, and the script in a folder with nothing beside it."""

    site: Site
    full: str
    incremental: str
    contents: dict[str, str]
    target_time: str
    dump: str
    folder: Path

    @property
    def tablespace(self) -> Path:
        """Where the original's tablespace is."""
        return self.site.folder / "tablespace"

    def script(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the script as the server's user, with a Python that cannot import the project."""
        command = [PROGRAMS / "python", "-I", self.folder / "lifeboat_breakglass.py", *arguments]
        return run(command, user=server_user(), cwd=self.folder, check=check)

    def restore(self, place: Cluster, *arguments: str | Path, repository: Path | None = None) -> None:
        """Restore into a place and start a server there, to the end of its recovery."""
        moved = f"{self.tablespace}={place.root / 'tablespace'}"
        source = repository or self.site.repository
        self.script(source, place.data_directory, "--tablespace", moved, *arguments)
        place.write_own_settings()
        start_and_recover(place)

    def refused(self, *arguments: str | Path) -> str:
        """Run the script, which must refuse; what it said."""
        done = self.script(*arguments, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done
        return done.stderr


def content(cluster: Cluster) -> str:
    """Everything in the database, but for what pg_dump makes up anew each time."""
    return re.sub(r"\\(un)?restrict .*", "", cluster.run("pg_dump", "app").stdout)


@pytest.fixture(scope="module")
def rescue(postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path]) -> Iterator[Rescue]:
    """A cluster with a tablespace and its configuration elsewhere, two backups of it, and WAL after them."""
    cluster, folder = postgres.clone("rescue"), new_folder()
    data, etc = cluster.data_directory, server_folder(folder / "etc")
    for name in ("postgresql.conf", "pg_hba.conf", "pg_ident.conf"):
        (data / name).rename(etc / name)
    (data / "postgresql.conf").write_text("work_mem = '1MB' # a copy that was forgotten when the real one moved\n")
    server_folder(data / "conf.d")
    with (etc / "postgresql.conf").open("a") as configuration:
        configuration.write(
            f"data_directory = '{data}'\nhba_file = '{etc}/pg_hba.conf'\nident_file = '{etc}/pg_ident.conf'\n"
            "include_dir = 'conf.d'\n"
        )
    server_folder(etc / "conf.d")
    (etc / "conf.d/ours.conf").write_text("work_mem = '7777kB'\n")
    site = Site(ansible, cluster, folder)
    cluster.start(f"-c config_file={etc}/postgresql.conf")
    try:
        tablespace = server_folder(folder / "tablespace", 0o700)
        cluster.sql(f"CREATE TABLESPACE elsewhere LOCATION '{tablespace}'")
        cluster.sql("CREATE TABLE far TABLESPACE elsewhere AS SELECT n FROM generate_series(1, 50000) AS n")
        contents = {"full": content(cluster)}
        recipients = [
            {"label": "director", "passphrase": WORDS},
            {"label": "monitoring", "key_file": folder / "keys/monitoring.key", "access": "metadata"},
        ]
        *_ignored, full = site.play(
            site.agent_task,
            task("pg_backup_repository", create_key=True, recipients=recipients),
            task("pitr_configure", restart=True, **summarizing(postgres.major)),
            task("pg_backup", type="full"),
        )
        cluster.sql(
            "UPDATE pgbench_accounts SET abalance = aid WHERE aid % 300 = 7; DELETE FROM orders WHERE id % 2 = 0;"
            "CREATE TABLE between AS SELECT n, repeat('x', 100) FROM generate_series(1, 20000) AS n;"
            "UPDATE far SET n = -n WHERE n > 49000"
        )
        cluster.sql("CHECKPOINT")
        contents["incremental"] = content(cluster)
        incremental = site.module("pg_backup", type="incremental")
        cluster.sql("DROP TABLE between; UPDATE pgbench_accounts SET abalance = 1 WHERE aid < 2000")
        ((now,),) = cluster.sql("SELECT clock_timestamp()")
        contents["target"] = content(cluster)
        cluster.sql("DROP TABLE orders")
        site.archive_everything()
        contents["end"] = content(cluster)
        dump = site.module("pg_backup", kind="logical", databases=["app"])
        tool = new_folder()
        shutil.copy(CHECKOUT / "tools/lifeboat_breakglass.py", tool)
        (tool / "phrase").write_text(WORDS + "\n")
        yield Rescue(
            site,
            full["backup"]["id"],
            incremental["backup"]["id"],
            contents,
            now.isoformat(),
            dump["backup"]["id"],
            tool,
        )
    finally:
        cluster.remove()


def test_the_script_has_nothing_of_the_project(rescue: Rescue) -> None:
    text = (rescue.folder / "lifeboat_breakglass.py").read_text()
    assert len(text.splitlines()) < 420
    assert not re.search(r"(?m)^\s*(from|import) (\.|lifeboat|ansible)", text)
    alone = run([PROGRAMS / "python", "-I", "-c", "import ansible_collections.lifeboat"], check=False)
    assert "ModuleNotFoundError" in alone.stderr


WHAT_THERE_IS = """
import sys
from pathlib import Path
import lifeboat_breakglass as script

met = set()
added_up = script.added_up
script.added_up = lambda raw: met.add("differences") or added_up(raw)
repository = script.Repository(Path(sys.argv[1]), *script.secret(script.argparse.Namespace(key_file=Path(sys.argv[2]))))
backup = script.Backup(repository, "main", sys.argv[3])
for entry in backup.lines():
    if "f" in entry:
        met.update({"b": "map", "n": "changes to a map", "c": "chunks"}[key] for key in "bnc" if key in entry)
        list(backup.content(entry))
print(sorted(met))
"""


def test_the_backups_have_everything_the_format_has(rescue: Rescue) -> None:
    command = [
        PROGRAMS / "python",
        "-c",
        WHAT_THERE_IS,
        rescue.site.repository,
        rescue.site.key_file,
        rescue.incremental,
    ]
    done = run(command, user=server_user(), cwd=rescue.folder)
    assert done.stdout.strip() == "['changes to a map', 'chunks', 'differences', 'map']"


def test_it_lists_what_there_is(rescue: Rescue) -> None:
    by_key = rescue.script(rescue.site.repository, "--key-file", rescue.site.key_file).stdout
    for text in ("main\n", rescue.full, rescue.incremental, str(rescue.tablespace), rescue.dump):
        assert text in by_key
    for other in (
        ("--passphrase-file", rescue.folder / "phrase"),
        ("--key-file", rescue.site.folder / "keys/monitoring.key"),
    ):
        assert rescue.script(rescue.site.repository, *other).stdout == by_key


@pytest.mark.parametrize("kind", ["full", "incremental"])
def test_a_backup_comes_back_as_it_was(rescue: Rescue, new_place: Callable[[], Cluster], kind: str) -> None:
    restored, backup_id = new_place(), {"full": rescue.full, "incremental": rescue.incremental}[kind]
    rescue.restore(restored, "--key-file", rescue.site.key_file, "--backup", backup_id)
    assert content(restored) == rescue.contents[kind]
    assert restored.sql("SHOW work_mem") == [("7777kB",)]
    assert restored.sql("SHOW data_directory") == [(str(restored.data_directory),)]
    restored.stop()
    restored.postgres.run("pg_checksums", "--check", "--pgdata", restored.data_directory)


def test_lifeboat_takes_the_configuration_from_the_same_place(rescue: Rescue, new_place: Callable[[], Cluster]) -> None:
    restored = new_place()
    rescue.site.module(
        "pg_restore",
        destination=restored.data_directory,
        port=restored.port,
        socket_directory=restored.socket_dir,
        tablespace_mapping={str(rescue.tablespace): str(restored.root / "tablespace")},
    )
    assert restored.sql("SHOW work_mem") == [("7777kB",)]
    assert content(restored) == rescue.contents["end"]


def test_a_point_in_time_comes_back_from_a_downloaded_bucket(
    rescue: Rescue, new_place: Callable[[], Cluster], new_folder: Callable[[], Path]
) -> None:
    restored, downloaded = new_place(), new_folder() / "downloaded % bucket"
    run(["cp", "-r", rescue.site.repository, downloaded], user=server_user())
    rescue.restore(
        restored,
        *("--passphrase-file", rescue.folder / "phrase", "--target-time", rescue.target_time),
        *("--wal", restored.root / "it's the WAL of 100%"),
        repository=downloaded,
    )
    assert content(restored) == rescue.contents["target"]
    assert restored.sql("SHOW archive_mode") == [("off",)]


def test_everything_archived_comes_back(rescue: Rescue, new_place: Callable[[], Cluster]) -> None:
    restored = new_place()
    wal = restored.root / "wal"
    rescue.restore(restored, "--key-file", rescue.site.key_file, "--backup", rescue.full, "--wal", wal)
    assert content(restored) == rescue.contents["end"]
    rescue.site.cluster.postgres.run("pg_waldump", "--quiet", min(wal.glob("0*")), max(wal.glob("0*[0-9A-F]")))


def test_a_dump_comes_out_for_postgresqls_own_programs(rescue: Rescue, clone: Callable[[str], Cluster]) -> None:
    folder, other = rescue.folder / "dump", clone("other")
    rescue.script(rescue.site.repository, folder, "--key-file", rescue.site.key_file, "--backup", rescue.dump)
    assert sorted(path.name for path in folder.rglob("*.*")) == ["app.dump", "globals.sql"]
    other.sql("DROP DATABASE app", db="postgres")
    other.sql("CREATE DATABASE app", db="postgres")
    other.run("pg_restore", "--no-tablespaces", "--exit-on-error", "--dbname=app", folder / "databases/app.dump")
    assert other.sql("SELECT count(*) FROM far") == rescue.site.cluster.sql("SELECT count(*) FROM far")
    assert "is there already" in rescue.refused(
        rescue.site.repository, folder, "--key-file", rescue.site.key_file, "--backup", rescue.dump
    )


# --- what it refuses


def test_it_touches_nothing_that_is_there(rescue: Rescue, new_place: Callable[[], Cluster]) -> None:
    place, key = new_place(), ("--key-file", rescue.site.key_file)
    moved = ("--tablespace", f"{rescue.tablespace}={place.root / 'tablespace'}")
    taken = server_folder(place.root / "taken")
    (taken / "file").touch()
    repository, new = rescue.site.repository, place.data_directory
    assert str(rescue.tablespace) in rescue.refused(repository, new, *key)
    assert str(taken) in rescue.refused(repository, taken, *key, *moved)
    assert str(taken) in rescue.refused(repository, new, *key, "--tablespace", f"{rescue.tablespace}={taken}")
    assert str(taken) in rescue.refused(repository, new, *key, *moved, "--wal", taken)
    assert "--wal" in rescue.refused(repository, new, *key, *moved, "--target-time", rescue.target_time)
    too_early = ("--target-time", "2026-01-01T00:00:00Z", "--wal", place.root / "wal")
    assert "ended before 2026" in rescue.refused(repository, new, *key, *moved, *too_early)
    assert "no backup" in rescue.refused(repository, new, *key, *moved, "--backup", "nonsense")
    monitoring = ("--key-file", rescue.site.folder / "keys/monitoring.key")
    assert "metadata only" in rescue.refused(repository, place.root / "limited", *monitoring, *moved)
    (place.root / "phrase").write_text("not the right words\n")
    assert "recipients" in rescue.refused(repository, "--passphrase-file", place.root / "phrase")
    assert "lifeboat-repository.json" in rescue.refused(place.root, *key)
    assert not new.exists()
    assert not (place.root / "limited/global/pg_control").exists()


def test_a_flipped_bit_anywhere_stops_it(
    rescue: Rescue, new_folder: Callable[[], Path], new_place: Callable[[], Cluster]
) -> None:
    copy, place = new_folder() / "copy", new_place()
    run(["cp", "-r", rescue.site.repository, copy], user=server_user())
    stanza = copy / "stanzas/main"
    needed = [
        copy / "lifeboat-repository.json",
        *(copy / "keys").iterdir(),
        stanza / "backups" / rescue.incremental / "manifest",
        max((stanza / "generations").rglob("packs/*"), key=lambda path: path.stat().st_size),
        max(path for path in (stanza / "wal").rglob("0*") if path.is_file()),
    ]
    for number, path in enumerate(needed):
        undamaged = path.read_bytes()
        for position in (0, len(undamaged) // 2, len(undamaged) - 1):
            path.write_bytes(undamaged[:position] + bytes([undamaged[position] ^ 1]) + undamaged[position + 1 :])
            destination = place.root / f"{number}-{position}"
            moved = f"{rescue.tablespace}={destination}-tablespace"
            said = rescue.refused(
                *(copy, destination, "--key-file", rescue.site.key_file, "--tablespace", moved),
                *("--backup", rescue.incremental, "--wal", f"{destination}-wal"),
            )
            assert path.name in said
            assert not (destination / "global/pg_control").exists()
        path.write_bytes(undamaged)
