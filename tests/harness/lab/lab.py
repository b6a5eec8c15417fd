# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A few hosts and the network between them, gone with whoever started them."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from ..guard import cgroup_mounts, cgroup_name, remove_cgroups, wait_until
from ..machine import CHECKOUT, CLEAN_ENVIRONMENT, cannot_be_had, run
from ..run_folder import RunFolder
from . import inside
from .host import Host

# The namespaces whose first process is inside.py, and which end with `unshare`.
OUTER = ["unshare", "--mount", "--propagation", "private", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]

_numbers = itertools.count(1)


class Lab:
    """Hosts by their names, up from entering the context to leaving it. `shared` is /srv/shared on all of them."""

    def __init__(self, run_folder: RunFolder, *names: str) -> None:
        """Find the tree, making it when needed; skip the test where hosts cannot be booted."""
        finder = [sys.executable, str(CHECKOUT / "tools/dev/lab_base.py"), "ensure"]
        done = subprocess.run(finder, capture_output=True, text=True, check=False)
        if done.returncode:
            cannot_be_had(done.stderr.strip().splitlines()[-1])
        self._tree = Path(done.stdout.strip())
        number = next(_numbers)
        self._cgroup = f"{cgroup_name(run_folder.path)}{number}-"
        self._names = names
        self.folder = run_folder.folder(f"lab{number}")
        self.shared = run_folder.folder(f"lab{number}/shared")
        self.hosts: dict[str, Host] = {}

    def __enter__(self) -> Lab:
        self._make_keys()
        script = Path(inside.__file__)
        cgroups = ":".join(str(mount / self._cgroup) for mount in cgroup_mounts())
        words: list[str | Path] = [*OUTER, sys.executable, script, self.folder, self._tree, cgroups, *self._names]
        with (self.folder / "log").open("wb") as log:
            # It works in the run's folder, by which the guard finds it.
            self._process = subprocess.Popen(
                words,
                cwd=self.folder,
                env=CLEAN_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for number, name in enumerate(self._names, start=1):
            cgroup = f"{self._cgroup}{name}"
            self.hosts[name] = Host(name, inside.address(number), self.folder, cgroup, self.enter_network)
        try:
            ready = self.folder / inside.READY
            wait_until(lambda: ready.exists() or self._process.poll() is not None, "the hosts were started")
            if self._process.poll() is not None:
                raise RuntimeError(f"the lab did not start\n{(self.folder / 'log').read_text()}")
            for host in self.hosts.values():
                state = host.wait_until_up()
                if state != "running":
                    raise RuntimeError(f"{host.name} did not boot well ({state})\n{self._told(host)}")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self._process.kill()  # and with it the first process inside, and with that everything
        self._process.wait()
        remove_cgroups(self._cgroup)

    def _told(self, host: Host) -> str:
        failed = host.run("systemctl", "--failed", "--no-pager", "--plain", check=False).stdout
        return f"{failed}\n{(self.folder / 'log').read_text()}\n{host.console[-2000:]}"

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    @property
    def enter_network(self) -> list[str]:
        """What begins a command that is to run in the lab's network: on this machine, as the controller."""
        return ["nsenter", f"--target={self._process.pid}", "--net", "--"]

    def cut(self, *names: str) -> None:
        """From now on these hosts do not hear one another, and nobody is told; others they do."""
        for name in names:
            self._isolate(name, "on")

    def heal(self, *names: str) -> None:
        """And now they do again."""
        for name in names:
            self._isolate(name, "off")

    def _isolate(self, name: str, state: str) -> None:
        port = ["ip", "link", "set", f"vb-{name}", "type", "bridge_slave", "isolated", state]
        run([*self.enter_network, "chroot", self._tree / "base", *port])

    def inventory(self, **variables: dict[str, Any]) -> Path:
        """An inventory of all hosts, with each one's own variables."""
        entries = {name: {"ansible_host": host.address, **variables.get(name, {})} for name, host in self.hosts.items()}
        (first, *_others) = self.hosts.values()
        options = " ".join(f"-o {name}={value}" for name, value in first.ssh_options.items())
        common = {
            "ansible_user": "ansible",
            "ansible_become": True,
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_common_args": f"-F none {options}",
        }
        path = self.folder / "inventory.json"
        path.write_text(json.dumps({"all": {"vars": common, "hosts": entries}}, indent=1, default=str))
        return path

    def _make_keys(self) -> None:
        ssh = self.folder / "ssh"
        ssh.mkdir(mode=0o700, exist_ok=True)
        for name in ("id", "host_key"):
            (ssh / name).unlink(missing_ok=True)
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", ssh / name])
        (ssh / "known_hosts").write_text(f"* {(ssh / 'host_key.pub').read_text()}")
