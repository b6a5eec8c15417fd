# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab keeps its promises: hosts with a systemd of their own, on a network that can be cut, gone with the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from harness import CHECKOUT, CommandFailed, wait_until
from harness.guard import cgroup_mounts, cgroup_name
from harness.lab import Lab
from harness.playbooks import Ansible

# A test run of its own, for being killed: boots a host, says where, and waits.
VICTIM = """
import sys
from harness import RunFolder
from harness.lab import Lab
run_folder = RunFolder()
with Lab(run_folder, "victim") as lab:
    print(run_folder.path, lab["victim"].init, flush=True)
    sys.stdin.read()
"""


def test_hosts_are_hosts(lab: Lab, ansible: Ansible) -> None:
    who = """
    - hosts: all
      tasks:
        - name: who
          ansible.builtin.debug:
            msg: "{{ ansible_facts.hostname }} {{ ansible_facts.service_mgr }} {{ ansible_facts.default_ipv4 }}"
    """
    seen = ansible.playbook(who, inventory=lab.inventory())
    assert {each.result["msg"] for each in seen.tasks if each.task == "who"} == {"db1 systemd {}", "db2 systemd {}"}
    for host in lab.hosts.values():
        assert host.sql("SHOW server_version").startswith("15.")


def test_the_network_can_be_cut(lab: Lab) -> None:
    greet = ("timeout", "1", "bash", "-c", "read -r greeting </dev/tcp/db2/22 && echo $greeting")
    assert "SSH" in lab["db1"].run(*greet).stdout
    lab.cut("db1", "db2")
    with pytest.raises(CommandFailed):
        lab["db1"].run(*greet)
    lab.heal("db1", "db2")
    assert "SSH" in lab["db1"].run(*greet).stdout


def test_a_host_that_crashes_comes_back_with_its_files_and_without_its_memory(lab: Lab) -> None:
    host = lab["db2"]
    host.run("sh", "-c", "echo something >/root/kept; sync; echo something >/run/lost")
    assert host.crash() == "running"
    assert host.run("cat", "/root/kept").stdout == "something\n"
    assert host.run("test", "-e", "/run/lost", check=False).returncode == 1


def test_a_killed_run_leaves_no_host(lab: Lab) -> None:
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT / "tests")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert victim.stdout is not None
    where, init = victim.stdout.readline().split()
    folder = Path(where)
    cgroups = [path for mount in cgroup_mounts() for path in mount.glob(f"{cgroup_name(folder)}*")]
    assert cgroups and Path(f"/proc/{init}").exists()
    victim.kill()
    victim.communicate()
    wait_until(lambda: not folder.exists(), "the killed run's folder was removed")
    assert not Path(f"/proc/{init}").exists()
    assert not [path for path in cgroups if path.exists()]
    assert lab["db1"].run("true").returncode == 0
