# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One host of a lab, as somebody sees it who may log in as root."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path

from ..guard import cgroup_mounts, wait_until
from ..machine import CommandFailed, run

# A host that boots refuses connections at first: ssh itself tries again, once a second. One that is gone says nothing.
PATIENCE = {"ConnectTimeout": "5", "ConnectionAttempts": "60", "ServerAliveInterval": "5", "ServerAliveCountMax": "2"}


class Host:
    """A host of a lab."""

    def __init__(self, name: str, address: str, folder: Path, cgroup: str, enter_network: list[str]) -> None:
        """*folder* is the lab's, *cgroup* its own, *enter_network* begins commands that run in the lab's network."""
        self.name = name
        self.address = address
        self._folder = folder
        self._cgroup = cgroup
        self._enter = enter_network

    @property
    def ssh_options(self) -> dict[str, str]:
        """How ssh reaches the hosts of this lab and believes that they are the ones."""
        ssh = self._folder / "ssh"
        return {
            "IdentitiesOnly": "yes",
            "IdentityFile": str(ssh / "id"),
            "UserKnownHostsFile": str(ssh / "known_hosts"),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
        }

    @property
    def console(self) -> str:
        """What the host has said since it was made."""
        path = self._folder / self.name / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def run(self, *command: str | Path, user: str = "root", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program on the host, as root or by root's leave as *user*. Raises CommandFailed unless told not to."""
        __tracebackhide__ = True
        words = [str(word) for word in command]
        if user != "root":
            words = ["runuser", "-u", user, "--", *words]
        return self._ssh(f"root@{self.address}", shlex.join(words), check=check)

    def _ssh(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        __tracebackhide__ = True
        # One connection for many commands, until nobody has used it for a while; it works in the run's folder.
        shared = {"ControlMaster": "auto", "ControlPath": f"{self._folder}/ssh/%n", "ControlPersist": "60"}
        options = {**self.ssh_options, **shared, **PATIENCE, "BatchMode": "yes", "LogLevel": "ERROR"}
        given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return run([*self._enter, "ssh", "-F", "none", *given, *words], cwd=self._folder, check=check)

    def sql(self, statement: str, db: str = "postgres") -> str:
        """What the host's PostgreSQL answers, as psql prints it without any trimmings."""
        return self.run("psql", "-XAtqd", db, "-v", "ON_ERROR_STOP=1", "-c", statement, user="postgres").stdout.strip()

    def unit(self, name: str, *properties: str) -> dict[str, str]:
        """Properties of a unit, as systemd has them."""
        shown = self.run("systemctl", "show", f"--property={','.join(properties)}", name).stdout
        return dict(line.split("=", 1) for line in shown.splitlines())

    def journal(self, unit: str) -> str:
        """What a unit has said since the host was booted."""
        return self.run("journalctl", "--boot", "--no-pager", "--output=cat", f"--unit={unit}").stdout

    # What befalls it

    def wait_until_up(self) -> str:
        """Wait until it has booted: `running`, or `degraded` when a unit has failed."""
        return self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()

    def reboot(self) -> str:
        """Shut it down in good order and boot it again; the state that it reaches."""
        before = self._boot_id()
        self.run("systemctl", "reboot", check=False)  # ends with the connection
        return self._back(before)

    def crash(self) -> str:
        """Take its power away, and give it back; the state that it reaches."""
        before = self._boot_id()
        os.kill(self.init, signal.SIGKILL)
        return self._back(before)

    def _boot_id(self) -> str:
        return self.run("cat", "/proc/sys/kernel/random/boot_id").stdout

    @property
    def init(self) -> int:
        """Its first process, by the number that it has on this machine."""
        for mount in cgroup_mounts():
            processes = Path(f"{mount / self._cgroup}/payload/init.scope/cgroup.procs")
            if processes.exists():
                return int(processes.read_text().split()[0])
        raise RuntimeError(f"{self.name} does not run\n{self.console}")

    def _back(self, before: str) -> str:
        self._ssh("-O", "exit", f"root@{self.address}", check=False)  # a connection with nobody at its other end

        def booted() -> bool:
            try:
                return self._boot_id() != before
            except CommandFailed:
                return False

        wait_until(booted, f"{self.name} was up again")
        return self.wait_until_up()
