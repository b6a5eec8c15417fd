# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups by the replication protocol: of a server whose files nobody reads, by a role that may do nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import DATABASE, Cluster, Postgres, run, server_folder, server_user, wait_until
from harness.cluster import LOCAL_ADDRESS
from harness.machine import CLEAN_ENVIRONMENT
from harness.playbooks import Ansible
from harness.postgres import ACCESS, CONFIGURATION
from support import Result, Site, start_and_recover, task

ROLE, PASSWORD = "streamer", "only: to 'stream'"
REMOTE = {"cluster": "elsewhere", "login_password": PASSWORD}
# By hand, there is nothing to wait for: a limit that makes the stream last long enough to be met.
SLOW = 4


@pytest.fixture(scope="session")
def shop(postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Any]) -> Iterator[Site]:
    """A site with a tablespace, and beside its own a description of its cluster as a backup host would have it."""
    with postgres.clone("shop") as cluster:
        site = Site(ansible, cluster, new_folder())
        agent = site.agent_task
        (options,) = (value for key, value in agent.items() if key.endswith("lifeboat_agent"))
        options["clusters"].append(
            {
                "name": "elsewhere",
                "repository": "local",
                "stanza": "main",
                "method": "stream",
                "login_host": LOCAL_ADDRESS,
                "login_port": cluster.port,
                "login_user": ROLE,
            }
        )
        cluster.sql(f"CREATE ROLE {ROLE} LOGIN REPLICATION PASSWORD $${PASSWORD}$$")
        location = server_folder(site.folder / "tablespace", 0o700)
        cluster.sql(f"CREATE TABLESPACE far LOCATION '{location}'")
        cluster.sql("CREATE TABLE ledger TABLESPACE far AS SELECT g AS n, 0 AS seen FROM generate_series(1, 50000) g")
        cluster.sql("CREATE UNLOGGED TABLE fleeting AS SELECT generate_series(1, 100) AS n")
        site.play(agent, task("pg_backup_repository", create_key=True))
        site.play(task("pitr_configure", restart=True, archive_timeout=0))
        yield site


@contextlib.contextmanager
def written_to(cluster: Cluster) -> Iterator[None]:
    """Somebody works in the database meanwhile."""
    done = threading.Event()

    def keep_writing() -> None:
        with cluster.connect() as connection:
            while not done.is_set():
                connection.execute("UPDATE ledger SET seen = seen + 1 WHERE n % 5000 = (random() * 5000)::int")
                connection.execute("INSERT INTO ledger SELECT 0, 0 FROM generate_series(1, 50)")
                connection.execute("DROP TABLE IF EXISTS passing")
                connection.execute("CREATE TABLE passing AS SELECT generate_series(1, 2000) AS n")

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()


class LyingPooler:
    """Passes everything on, but says of its server that it has another system identifier."""

    def __init__(self, port: int, truth: str, lie: str) -> None:
        self._behind, self._truth, self._lie = port, truth.encode(), lie.encode()
        self._listener = socket.create_server((LOCAL_ADDRESS, 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> LyingPooler:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _address = self._listener.accept()
                server = socket.create_connection((LOCAL_ADDRESS, self._behind))
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data.replace(self._truth, self._lie))
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def test_files_of_another_server_than_the_one_that_answered_are_no_backup(
    shop: Site, new_folder: Callable[[], Any]
) -> None:
    """As behind a pooler that changes servers: in the end it is the control file that tells."""
    site = shop
    ((truth,),) = site.cluster.sql("SELECT system_identifier::text FROM pg_control_system()")
    lie = str(int(truth) ^ 1)
    with LyingPooler(site.cluster.port, truth, lie) as pooler:
        how = {"login_port": pooler.port, "stanza": "pooled", "ssl_mode": "disable", **REMOTE}
        site.module("pitr_configure", **how)
        said = site.refused("server_directory_mismatch", "pg_backup", **how)
    assert truth in said["happened"] and lie in said["happened"]
    assert json.loads(site.lifeboat("info", "--stanza", "pooled", "--json").stdout)["backups"] == []


@pytest.mark.every_version
def test_by_protocol_and_by_files_in_turns(shop: Site, new_place: Callable[[], Cluster]) -> None:
    """Each builds on the other, and the last of them restores like any backup."""
    site = shop
    with written_to(site.cluster):
        full = site.module("pg_backup", **REMOTE)["backup"]
        files = site.module("pg_backup")["backup"]
        made = site.module("pg_backup", **REMOTE, damaged_pages="fail")["backup"]
    assert [each["method"] for each in (full, files, made)] == ["stream", "files", "stream"]
    assert [each["type"] for each in (full, files, made)] == ["full", "incremental", "incremental"]
    assert [files["parent"], made["parent"]] == [full["id"], files["id"]]
    assert made["stored_bytes"] < full["stored_bytes"] / 3
    ((ledger,),) = site.cluster.sql("SELECT count(*) || '/' || sum(seen) FROM ledger")
    site.archive_everything()
    query = "SELECT count(*) || '/' || sum(seen) FROM ledger"
    site.module("backup_verify", backup=made["id"])
    site.module(
        "backup_verify",
        backup=made["id"],
        level="restore",
        assertions=[
            {"name": "ledger", "database": "app", "query": query, "equals": str(ledger)},
            {"name": "fleeting", "database": "app", "table": "fleeting", "equals": "0"},
        ],
    )
    place = new_place()
    mapping = {str(site.folder / "tablespace"): str(place.data_directory.with_name("tablespace"))}
    where = {"port": place.port, "socket_directory": place.socket_dir, "tablespace_mapping": mapping}
    site.module("pg_restore", destination=place.data_directory, start=False, backup=made["id"], **where)
    place.postgres.run("pg_verifybackup", place.data_directory)
    start_and_recover(place)
    assert place.sql(query) == [(ledger,)]


def test_an_unchanged_cluster_costs_nothing_but_its_way(shop: Site) -> None:
    site = shop
    site.cluster.set(autovacuum="off")  # it would go on with what earlier tests have left
    workers = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"
    wait_until(lambda: site.cluster.sql(workers) == [(0,)], "the last worker of autovacuum had ended")
    site.cluster.sql("CHECKPOINT")
    site.module("pg_backup", **REMOTE)
    made = site.lifeboat(
        "backup", "--method", "stream", "--login-host", LOCAL_ADDRESS, "--login-port", str(site.cluster.port),
        "--login-user", ROLE, "--json", env={"PGPASSWORD": PASSWORD},
    )  # fmt: skip
    assert '"method": "stream"' in made.stdout
    last = site.module("pg_backup_info")["backups"][-1]
    assert last["type"] == "incremental"
    assert last["stored_bytes"] < 300_000
    assert site.play(task("pg_backup", **REMOTE, max_age=1))[0]["changed"] is False
    before = site.backup_ids()
    predicted = site.play(task("pg_backup", **REMOTE, check=True))[0]
    assert (predicted["changed"], predicted["type"], predicted["backup"]) == (True, "incremental", {})
    assert site.backup_ids() == before


def test_a_session_that_ends_midway_can_be_told_and_repeated(shop: Site) -> None:
    site = shop
    site.cluster.sql("CREATE TABLE bulky AS SELECT g, repeat(md5(g::text), 6) FROM generate_series(1, 60000) g")
    before = site.backup_ids()
    ended = threading.Event()

    def end_it() -> None:
        query = "SELECT pid FROM pg_stat_progress_basebackup WHERE backup_streamed > 5000000"
        wait_until(lambda: bool(site.cluster.sql(query)), "some of the backup was on its way")
        site.cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_progress_basebackup")
        ended.set()

    helper = threading.Thread(target=end_it)
    helper.start()
    refusal = site.refused("server_connection_lost", "pg_backup", **REMOTE, type="full", max_rate=SLOW)
    helper.join()
    assert ended.is_set()
    assert refusal["error_kind"] == "interrupted"
    assert site.backup_ids() == before
    made = site.module("pg_backup", **REMOTE, type="full")["backup"]
    assert site.backup_ids() == [*before, made["id"]]
    site.module("backup_verify", backup=made["id"])
    intents = site.repository / "stanzas/main/intents"
    assert [path for path in intents.rglob("*") if path.is_file()] == []


def test_a_damaged_page_is_found_on_its_way(shop: Site) -> None:
    site = shop
    site.cluster.sql("CREATE TABLE rotten AS SELECT g, repeat('x', 200) FROM generate_series(1, 10000) g")
    site.cluster.sql("CHECKPOINT")
    ((path,),) = site.cluster.sql("SELECT pg_relation_filepath('rotten')")
    try:
        with (site.cluster.data_directory / path).open("r+b") as stream:
            stream.seek(8192 * 7 + 5000)
            stream.write(b"rot")
        result = site.play(task("pg_backup", **REMOTE))[0]
        assert result["damaged_pages"] == [f"{path} block 7"]
        assert any("checksum verification failed" in warning for warning in result["warnings"])
        site.refused("pages_damaged", "pg_backup", **REMOTE, damaged_pages="fail")
    finally:
        site.cluster.sql("DROP TABLE rotten")


@contextlib.contextmanager
def receiving(cluster: Cluster, folder: Path) -> Iterator[None]:
    """pg_receivewal at work, with the only WAL sender that it needs."""
    command = [cluster.postgres.bin_dir / "pg_receivewal", "--directory", folder, "--no-loop"]
    process = subprocess.Popen(
        [str(word) for word in command],
        env={**CLEAN_ENVIRONMENT, **cluster.client_environment},
        stderr=subprocess.DEVNULL,
        user=server_user().pw_uid if os.geteuid() == 0 else None,
    )
    try:
        query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        wait_until(lambda: cluster.sql(query, db="postgres") == [(1,)], "WAL was received")
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def stranger(new_place: Callable[[], Cluster]) -> Iterator[Cluster]:
    """A cluster of another making, with the same role."""
    cluster = new_place()
    identity = ("--username", "postgres", "--auth", "trust", "--no-sync")
    cluster.postgres.run("initdb", "--pgdata", cluster.data_directory, *identity)
    (cluster.data_directory / "pg_hba.conf").write_text(ACCESS)
    with (cluster.data_directory / "postgresql.conf").open("a") as configuration:
        configuration.write(CONFIGURATION)
    cluster.write_own_settings()
    with cluster:
        for role, may in ((ROLE, "REPLICATION"), ("nobody", "")):
            cluster.sql(f"CREATE ROLE {role} LOGIN {may} PASSWORD $${PASSWORD}$$", db="postgres")
        cluster.sql(f"CREATE DATABASE {DATABASE}", db="postgres")
        yield cluster


def test_a_server_on_whose_host_there_is_nothing_of_ours(shop: Site, stranger: Cluster) -> None:
    """Its place in the repository, its WAL and its backup all come by protocol."""
    site, stanza = shop, {**REMOTE, "stanza": "received", "login_port": stranger.port}
    made = [site.play(task("pitr_configure", **stanza, check=check))[0] for check in (True, False, True, False)]
    assert [each["changed"] for each in made] == [True, True, False, False]
    assert made[1]["incarnation"] == made[3]["incarnation"] != ""
    site.refused("archiving_off", "pg_backup", **stanza)
    assert any("no WAL" in warning for warning in made[1]["warnings"])
    received = server_folder(site.folder / "received", 0o700)
    push = ["--config", site.config_file, "--cluster", "elsewhere", "--stanza", "received"]
    done, archived = threading.Event(), set()

    def archive_what_is_whole() -> None:
        while not done.wait(0.1):
            for path in sorted(received.glob("[0-9A-F]" * 24)):
                if path.name not in archived:
                    incarnation = made[1]["incarnation"]
                    run([site.command, "archive-push", *push, "--incarnation", incarnation, path], user=server_user())
                    archived.add(path.name)

    with receiving(stranger, received):
        archiver = threading.Thread(target=archive_what_is_whole)
        archiver.start()
        try:
            stranger.sql("SELECT pg_switch_wal()")
            wait_until(lambda: bool(archived), "the first segment was archived")
            backup = site.module("pg_backup", **stanza)["backup"]
        finally:
            done.set()
            archiver.join()
    assert (backup["stanza"], backup["type"]) == ("received", "full")
    site.module("backup_verify", stanza="received", level="restore")
    # The shop's cluster archives under another stanza, and says so.
    site.module("pitr_configure", **{**REMOTE, "stanza": "astray"})
    site.refused("claim_of_another_cluster", "pg_backup", **{**REMOTE, "stanza": "astray"})


def test_who_is_not_let_in_is_told_why(shop: Site, stranger: Cluster, clone: Callable[[str], Cluster]) -> None:
    site, other = shop, stranger
    site.module("pg_backup", **REMOTE)
    before = site.backup_ids()

    def refused(code: str, **options: Any) -> Result:
        return site.refused(code, "pg_backup", **{**REMOTE, "login_port": other.port, **options})

    refused("stanza_of_another_cluster")
    site.refused("stanza_of_another_cluster", "pitr_configure", **{**REMOTE, "login_port": other.port})
    copy = clone("copy")
    copy.sql(f"CREATE ROLE {ROLE} LOGIN REPLICATION PASSWORD $${PASSWORD}$$")
    refused("server_behind_its_backups", login_port=copy.port)
    refused("role_lacks_privilege", login_user="nobody")
    refused("authentication_failed", login_password="wrong")
    access = other.data_directory / "pg_hba.conf"
    access.write_text("".join(line for line in ACCESS.splitlines(keepends=True) if "replication" not in line))
    other.reload()
    assert "replication" in refused("authentication_not_permitted")["remedy"]
    access.write_text(ACCESS)
    other.sql("ALTER SYSTEM SET max_wal_senders = 1")
    other.restart()
    with receiving(other, server_folder(other.root / "received", 0o700)):
        refused("wal_senders_exhausted")
    other.stop()
    refused("server_not_reachable")
    assert site.backup_ids() == before
