# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inner half of a lab: `inside.py FOLDER TREE CGROUPS HOST...`, the first process of namespaces of its own.

It makes the network and boots the hosts, and boots those again that rebooted or crashed; one that was switched off
stays off. When it ends, however it ends, the kernel takes away all that it made: processes, mounts and network. Only
empty cgroups stay, and those the guard of the test run removes.

It runs by its path, and imports nothing of the harness.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

NETWORK = "10.77.0"
OURS = 254  # this machine's end
BRIDGE = "lab"
READY = "ready"  # the file in the lab's folder that says that all hosts have been started
POWERED_OFF = 0  # nspawn's status then; 133 when the host rebooted

# What gives a host its address. The interface is the one that nspawn makes.
NETWORK_UNIT = """\
[Unit]
Description=The address of this host
Wants=network.target
Before=network.target network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip link set host0 up
ExecStart=ip address add {address}/24 dev host0
"""


def address(number: int) -> str:
    """Of the host with this number, from 1."""
    return f"{NETWORK}.{number}"


class Inside:
    """The network and the hosts."""

    def __init__(self, folder: Path, tree: Path, cgroups: list[str], names: list[str]) -> None:
        """*cgroups* is how the hosts' cgroups begin, in every hierarchy."""
        self._folder = folder
        self._tree = tree
        self._base = tree / "base"
        self._cgroups = cgroups
        self._names = names

    def work(self) -> None:
        """Boot all hosts, and again, as long as one of them comes back."""
        self._ip("link", "set", "lo", "up")
        self._ip("link", "add", BRIDGE, "type", "bridge")
        self._ip("address", "add", f"{NETWORK}.{OURS}/24", "dev", BRIDGE)
        self._ip("link", "set", BRIDGE, "up")
        for number, name in enumerate(self._names, start=1):
            self._furnish(number, name)
        running = {self._boot(name): name for name in self._names}
        (self._folder / READY).touch()
        while running:
            pid, status = os.wait()  # also whatever a host has left behind
            name = running.pop(pid, "")
            if name and os.waitstatus_to_exitcode(status) != POWERED_OFF:
                running[self._boot(name)] = name

    def _ip(self, *words: str) -> None:
        # The tree's own, which takes this process's network: the machine may have none.
        subprocess.run(["chroot", self._base, "ip", *words], check=True, cwd="/")

    def _furnish(self, number: int, name: str) -> None:
        """The host's files: the tree's, below what is its own."""
        place = self._folder / name
        for part in ("upper", "work", "root"):
            (place / part).mkdir(parents=True)
        layers = f"lowerdir={self._base},upperdir={place / 'upper'},workdir={place / 'work'}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, place / "root"], check=True)
        etc = place / "root/etc"
        (etc / "hostname").write_text(f"{name}\n")
        hosts = [f"{address(other)} {called}" for other, called in enumerate(self._names, start=1)]
        (etc / "hosts").write_text("\n".join(["127.0.0.1 localhost", *hosts, f"{address(OURS)} controller", ""]))
        unit = etc / "systemd/system/lab-network.service"
        unit.write_text(NETWORK_UNIT.format(address=address(number)))
        (etc / "systemd/system/multi-user.target.wants" / unit.name).symlink_to(f"../{unit.name}")
        self._give(self._folder / "ssh/host_key", etc / "ssh/ssh_host_ed25519_key", 0, 0o600)
        for home in ("root", "home/ansible"):
            owner = (place / "root" / home).stat().st_uid
            keys = place / "root" / home / ".ssh/authorized_keys"
            keys.parent.mkdir(mode=0o700, exist_ok=True)
            os.chown(keys.parent, owner, owner)
            self._give(self._folder / "ssh/id.pub", keys, owner, 0o600)

    @staticmethod
    def _give(source: Path, target: Path, owner: int, mode: int) -> None:
        target.write_bytes(source.read_bytes())
        target.chmod(mode)
        os.chown(target, owner, owner)

    def _boot(self, name: str) -> int:
        """Start a host; the process that is there as long as the host is."""
        (loader,) = self._base.glob("lib*/ld-linux*.so.*")
        libraries = [str(path) for path in self._base.glob("usr/lib/*-linux-gnu*")]
        libraries += [f"{path}/systemd" for path in libraries]
        command: list[str | Path] = [
            loader, "--library-path", ":".join(libraries), self._tree / "nspawn", "--quiet", "--register=no",
            "--keep-unit", "--boot", "--console=read-only", f"--machine={name}",
            f"--directory={self._folder / name / 'root'}", f"--network-bridge={BRIDGE}", "--resolv-conf=off",
            "--timezone=off", "--link-journal=no", f"--bind={self._folder / 'shared'}:/srv/shared",
        ]  # fmt: skip
        # A systemd needs a cgroup of its own. There may be no systemd here that nspawn could ask for one.
        cgroups = [Path(f"{beginning}{name}") for beginning in self._cgroups]
        for cgroup in cgroups:
            cgroup.mkdir(exist_ok=True)
        pid = os.fork()
        if pid:
            return pid
        for cgroup in cgroups:
            (cgroup / "cgroup.procs").write_text("0")
        console = os.open(self._folder / name / "console.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(console, 1)
        os.dup2(console, 2)
        os.environ["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "1"
        os.execv(loader, [str(word) for word in command])


if __name__ == "__main__":
    Inside(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(":"), sys.argv[4:]).work()
