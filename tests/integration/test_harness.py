# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The harness keeps its promises: real servers of every version, the installed collection, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from harness import (
    CHECKOUT,
    PASSWORD,
    PASSWORD_ROLE,
    Cluster,
    CommandFailed,
    Postgres,
    RunFolder,
    server_user,
    wait_until,
)
from harness.guard import processes_in
from harness.playbooks import HOST, Ansible

# A test run of its own, for being killed: starts a server, says where and which, and waits.
VICTIM = """
import sys
from harness import Postgres, RunFolder
run_folder = RunFolder()
cluster = Postgres(int(sys.argv[1]), run_folder).clone()
cluster.start()
print(run_folder.path, run_folder.guard_pid, cluster.pid, flush=True)
sys.stdin.read()
"""


class Victim(NamedTuple):
    """A test run to be killed."""

    process: subprocess.Popen[str]
    folder: Path
    guard: int
    postmaster: int


@pytest.mark.every_version
def test_a_clone_is_a_server_of_that_version_with_the_templates_contents(postgres: Postgres, cluster: Cluster) -> None:
    assert cluster.sql("SHOW server_version_num")[0][0].startswith(str(postgres.major))
    assert cluster.sql("SHOW data_checksums") == [("on",)]
    assert cluster.sql("SELECT count(*) FROM orders WHERE id <= %(last)s", last=10) == [(10,)]
    assert cluster.psql("SELECT count(*) FROM pgbench_accounts") == "100000\n"
    assert cluster.data_directory.owner() == cluster.owner == server_user().pw_name


def test_clones_are_independent(clone: Callable[[str], Cluster]) -> None:
    one, other = clone("one"), clone("other")
    one.sql("DROP TABLE orders")
    assert other.sql("SELECT count(*) FROM orders") == [(5000,)]


def test_tcp_takes_the_password(cluster: Cluster) -> None:
    with cluster.connect(host="127.0.0.1", user=PASSWORD_ROLE, password=PASSWORD) as connection:
        assert connection.execute("SELECT current_user, inet_server_port()").fetchone() == (PASSWORD_ROLE, cluster.port)
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        cluster.connect(host="127.0.0.1", user=PASSWORD_ROLE, password="another")


def test_settings_take_effect_by_reload_or_restart(cluster: Cluster) -> None:
    cluster.set(work_mem="5MB", max_connections=33)
    assert cluster.sql("SHOW work_mem") == [("5MB",)]
    assert cluster.sql("SHOW max_connections") == [("100",)]
    cluster.restart()
    assert cluster.sql("SHOW max_connections") == [("33",)]
    cluster.set(work_mem=None)
    assert cluster.sql("SHOW work_mem") == [("4MB",)]


def test_a_stopped_and_a_killed_server_are_gone_and_come_back(cluster: Cluster) -> None:
    cluster.sql("DELETE FROM orders WHERE id > 10")
    cluster.kill()
    assert not cluster.is_running()
    cluster.start()
    assert cluster.sql("SELECT count(*) FROM orders") == [(10,)]
    cluster.stop()
    assert not cluster.is_running()


def test_a_server_that_cannot_start_says_why(postgres: Postgres) -> None:
    cluster = postgres.clone("broken")
    with (cluster.data_directory / "postgresql.conf").open("a") as configuration:
        configuration.write("no_such_setting = on\n")
    with pytest.raises(CommandFailed, match="no_such_setting"):
        cluster.start()


def test_a_data_directory_made_by_something_else_is_a_cluster_too(postgres: Postgres, cluster: Cluster) -> None:
    cluster.stop()
    with postgres.adopt(cluster.data_directory, cluster.port, cluster.socket_dir) as adopted:
        assert adopted.sql("SELECT count(*) FROM orders") == [(5000,)]
        assert "ready to accept connections" in adopted.log_tail()


@pytest.mark.every_version
def test_postgresqls_own_tools_judge_a_copy(postgres: Postgres, cluster: Cluster) -> None:
    copy = cluster.data_directory.with_name("copy")
    cluster.run("pg_basebackup", "--pgdata", copy, "--checkpoint", "fast")
    postgres.run("pg_verifybackup", copy)
    (copy / "PG_VERSION").write_text("1")
    assert postgres.run("pg_verifybackup", copy, check=False).returncode == 1


@pytest.fixture
def victim(postgres: Postgres) -> Iterator[Victim]:
    """A run of its own, with a server."""
    process = subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(postgres.major)],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "tests")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    folder, guard, postmaster = process.stdout.readline().split()
    yield Victim(process, Path(folder), int(guard), int(postmaster))
    process.kill()
    process.communicate()


def test_a_killed_run_leaves_no_server_and_no_folder(victim: Victim) -> None:
    assert victim.postmaster in processes_in(victim.folder)
    victim.process.kill()
    wait_until(lambda: not victim.folder.exists(), "the killed run's folder was removed")
    assert not processes_in(victim.folder)


def test_the_next_run_clears_what_a_run_killed_with_its_guard_left(victim: Victim) -> None:
    os.kill(victim.guard, signal.SIGKILL)
    victim.process.kill()
    victim.process.wait()
    assert victim.postmaster in processes_in(victim.folder)
    RunFolder().finish()
    assert not victim.folder.exists()
    assert not processes_in(victim.folder)


def test_a_run_that_lives_is_left_alone_by_the_next(victim: Victim) -> None:
    RunFolder().finish()
    assert victim.postmaster in processes_in(victim.folder)


def test_the_collection_is_installed_for_other_users_too(ansible: Ansible) -> None:
    play = """
    - hosts: all
      gather_facts: false
      tasks:
        - name: who
          ansible.builtin.command: id -un
          changed_when: false
        - name: greet
          ansible.builtin.debug:
            msg: "hello {{ name }}"
    """
    finished = ansible.playbook(play, as_server_user=True, name="world")
    assert finished.task("who").result["stdout"] == server_user().pw_name
    assert finished.task("greet").result["msg"] == "hello world"
    assert finished.totals[HOST]["ok"] == 2
    assert not finished.changed
