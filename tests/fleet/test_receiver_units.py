# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiver's unit under real systemd, on the server's host and on another one, and the pusher beside it.

The tests share the hosts and follow one another, from an empty host to one from which everything has been taken back.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from harness import RunFolder, wait_until
from harness.lab import Lab
from harness.playbooks import Ansible, PlaybookRun
from two_hosts import SLOTS, UNIT, TwoHosts

pytestmark = pytest.mark.timeout(900)  # setting two hosts up, the first time, is a single fixture

# What only becomes necessary by what the same run has done before; check mode does not go that far.
CONSEQUENCES = {
    "lifeboat.postgresql.archiving : Restart servers that belong to a systemd unit",
    "lifeboat.postgresql.archiving : Prove the archive of restarted servers",
    "lifeboat.postgresql.archiving : Run the receivers",
}


class Setup(NamedTuple):
    """Both hosts set up, and how that went for the first."""

    hosts: TwoHosts
    predicted: PlaybookRun
    done: PlaybookRun


@pytest.fixture(scope="module")
def configured(lab: Lab, ansible: Ansible) -> Setup:
    """Check mode and the real thing for the primary, then the second host, which needs its key."""
    hosts = TwoHosts(lab, ansible)
    hosts.furnish()
    predicted = hosts.configure("db1", check=True)
    done = hosts.configure("db1")
    hosts.share_key()
    hosts.configure("db2")
    return Setup(hosts, predicted, done)


@pytest.fixture
def hosts(configured: Setup) -> TwoHosts:
    """Both hosts, set up, with everything well."""
    for host in configured.hosts.lab.hosts.values():
        configured.hosts.wait_until_receives(host)
    return configured.hosts


def test_check_mode_predicts_what_is_then_done(configured: Setup) -> None:
    done = [each.task for each in configured.done.changed if each.task not in CONSEQUENCES]
    assert [each.task for each in configured.predicted.changed] == done


def test_a_second_run_changes_nothing(hosts: TwoHosts) -> None:
    pids = [hosts.pid(host) for host in hosts.lab.hosts.values()]
    assert hosts.configure().changed == []
    assert [hosts.pid(host) for host in hosts.lab.hosts.values()] == pids


def test_units_are_as_systemd_wants_them(hosts: TwoHosts) -> None:
    for host in hosts.lab.hosts.values():
        seen = hosts.receiver(host)
        assert (seen["ActiveState"], seen["UnitFileState"], seen["NRestarts"]) == ("active", "enabled", "0")
        verified = host.run("systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}")
        assert verified.stdout + verified.stderr == ""
        assert host.run("systemctl", "is-system-running").stdout == "running\n"


def test_wal_arrives_by_all_ways(hosts: TwoHosts) -> None:
    hosts.write()
    hosts.wait_until_archived()
    for host in hosts.lab.hosts.values():
        wait_until(lambda host=host: hosts.status(host)["troubles"] == [], f"{host.name} had no troubles", pause=0.5)


def test_a_killed_receiver_is_started_again(hosts: TwoHosts) -> None:
    before = {host: hosts.pid(host) for host in hosts.lab.hosts.values()}
    for host in before:
        host.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", UNIT)
    hosts.write()
    for host, pid in before.items():
        hosts.wait_until_receives(host, after=pid)
        assert hosts.receiver(host)["NRestarts"] == "1"
    hosts.wait_until_archived()


def test_a_network_that_is_cut_for_a_while_costs_nothing(hosts: TwoHosts) -> None:
    hosts.lab.cut("db1", "db2")
    try:
        hosts.write()
        hosts.wait_until_archived()  # by the way that is left
    finally:
        hosts.lab.heal("db1", "db2")
    hosts.write()
    caught_up = "SELECT restart_lsn >= pg_current_wal_lsn() - 16777216 FROM pg_replication_slots WHERE slot_name = '{}'"
    wait_until(lambda: hosts.primary.sql(caught_up.format(SLOTS["db2"])) == "t", "db2 had caught up", pause=0.5)
    hosts.wait_until_archived()


def test_rebooted_hosts_go_on_where_they_were(hosts: TwoHosts) -> None:
    for host in hosts.lab.hosts.values():
        assert host.reboot() == "running"
    hosts.write()
    for host in hosts.lab.hosts.values():
        hosts.wait_until_receives(host)
    hosts.wait_until_archived()
    assert hosts.primary.sql("SELECT count(*) FROM written") == str(hosts.rows)


def test_a_new_agent_takes_over_while_wal_is_written(
    hosts: TwoHosts, run_folder: RunFolder, installed_collection: Path
) -> None:
    newer = run_folder.path / "newer"
    shutil.copytree(installed_collection, newer, symlinks=True)
    version = next(newer.rglob("_engine/version.py"))
    version.write_text(version.read_text() + "# another release\n")
    hosts.write()  # from now on the pusher is there, for a while
    before = {host: hosts.pid(host) for host in hosts.lab.hosts.values()}
    failures = "SELECT failed_count FROM pg_stat_archiver"
    failed = hosts.primary.sql(failures)
    agents = {host: host.run("readlink", "/usr/local/bin/lifeboat").stdout for host in before}
    upgraded = hosts.play_agent(Ansible(run_folder, newer, hosts.lab.enter_network))
    hosts.write()
    assert {each.host for each in upgraded.changed} == {"db1", "db2"}
    for host, pid in before.items():
        hosts.wait_until_receives(host, after=pid)
        assert hosts.receiver(host)["Result"] == "success"
        assert "the command has changed: it ends" in host.journal(UNIT)
        new = host.run("readlink", "/usr/local/bin/lifeboat").stdout
        assert new != agents[host]
        hosts.write()
    hosts.wait_until_archived()
    assert hosts.primary.sql(failures) == failed
    old = Path(agents[hosts.primary].strip()).name
    pushers = ("pgrep", "--full", "--list-full", "archive-pusher")
    wait_until(lambda: old not in hosts.primary.run(*pushers, check=False).stdout, "the old pusher was gone", pause=0.5)


def test_what_was_written_meanwhile_is_restored_on_the_second_host(hosts: TwoHosts) -> None:
    hosts.write()
    hosts.wait_until_archived()
    restored = {"destination": "/var/lib/postgresql/15/restored", "port": 5499, "owner": "postgres"}
    hosts.module("db2", "pg_restore", **restored, socket_directory="/var/run/postgresql")
    ask = ("psql", "-XAtqp", "5499", "-c", "SELECT count(*), min(n), max(n) FROM written", "postgres")
    assert hosts.second.run(*ask, user="postgres").stdout == f"{hosts.rows}|1|{hosts.rows}\n"


def test_all_is_taken_back_first_on_the_second_host_then_on_the_primary(hosts: TwoHosts) -> None:
    primary = hosts.primary
    hosts.take_away("db2")
    assert primary.sql("SELECT slot_name FROM pg_replication_slots") == SLOTS["db1"]
    hosts.write()
    hosts.wait_until_archived()
    hosts.take_away("db1")
    assert primary.sql("SELECT count(*) FROM pg_replication_slots") == "0"
    assert primary.sql("SELECT current_setting('archive_mode'), current_setting('archive_command')") == "off|(disabled)"
    for host in hosts.lab.hosts.values():
        assert hosts.receiver(host)["ActiveState"] == "inactive"
        assert host.run("test", "-e", f"/etc/systemd/system/{UNIT}", check=False).returncode == 1
        assert host.run("systemctl", "is-system-running").stdout == "running\n"
    assert hosts.take_away("db1", "db2").changed == []
