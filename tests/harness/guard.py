# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guard of a test run: whatever happens to the run, its processes end and its folder goes.

Started by `RunFolder`, in a session of its own, as `guard.py FOLDER`. It waits until its standard input is closed (the
run has finished) or its parent is dead (the run was killed), then ends what works in the folder and removes it.

A process belongs to the run when its working directory lies in the run's folder and it has no controlling terminal.
PostgreSQL works in its data directory whoever started it and however, and Ansible is started in the folder;
a person's shell that happens to be there has a terminal and is spared.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

READY = b"watching\n"
GRACE_SECONDS = 10


def wait_until(condition: Callable[[], bool], what: str, timeout: float = 60, pause: float = 0.02) -> None:
    """Return as soon as *condition* holds; raise TimeoutError naming *what* when it does not come true."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s in vain until {what}")
        time.sleep(pause)


def processes_in(folder: Path) -> list[int]:
    """The processes without a terminal that work in *folder* or below, but for this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            works_in = Path(os.readlink(entry / "cwd").removesuffix(" (deleted)"))
            state, *_ignored, terminal = (entry / "stat").read_text().rpartition(")")[2].split()[:5]
        except OSError:  # gone meanwhile, or another user's
            continue
        if works_in.is_relative_to(folder) and terminal == "0" and state != "Z":
            found.append(int(entry.name))
    return found


def end_processes_in(folder: Path) -> None:
    """Ask all of a run's processes to leave at once (PostgreSQL's immediate shutdown), then insist."""

    def signal_all(number: int) -> None:
        for pid in processes_in(folder):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    signal_all(signal.SIGQUIT)
    try:
        wait_until(lambda: not processes_in(folder), "all processes had left", GRACE_SECONDS)
    except TimeoutError:
        signal_all(signal.SIGKILL)
        wait_until(lambda: not processes_in(folder), "all processes were killed")


def unmount_below(folder: Path) -> None:
    """Take away what tests have mounted there, the innermost first."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for mount in reversed(mounts):
        if Path(mount).is_relative_to(folder):
            subprocess.run(["umount", "--lazy", mount], check=False, stderr=subprocess.DEVNULL)


def cgroup_mounts() -> list[Path]:
    """Where a systemd keeps its cgroups: in cgroup2, and in version 1's hierarchy of its name where there is one."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _device, where, kind, options, *_rest = line.split()
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(Path(where))
    return found


def cgroup_name(folder: Path) -> str:
    """How the names of a run's cgroups begin."""
    return f"lifeboat-{folder.name}-"


def remove_cgroups(prefix: str) -> None:
    """Remove the cgroups whose names begin so, once the last of their processes has left."""

    def gone() -> bool:
        tops = [top for mount in cgroup_mounts() for top in mount.glob(f"{prefix}*")]
        for top in tops:
            for below in sorted(top.rglob("*/"), reverse=True):
                with suppress(OSError):
                    below.rmdir()
            with suppress(OSError):
                top.rmdir()
        return not any(top.exists() for top in tops)

    wait_until(gone, f"the cgroups {prefix}* were empty")


def end_run(folder: Path) -> None:
    """End the processes of a run and remove its folder; LIFEBOAT_KEEP=1 keeps the folder for inspection."""
    end_processes_in(folder)
    unmount_below(folder)
    remove_cgroups(cgroup_name(folder))
    if os.environ.get("LIFEBOAT_KEEP") != "1":
        subprocess.run(["chmod", "-R", "u+rwX", str(folder)], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    run = os.pidfd_open(os.getppid())
    os.write(sys.stdout.fileno(), READY)
    select.select([run, sys.stdin], [], [])
    end_run(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
