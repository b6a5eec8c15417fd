# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the benchmarks run: a folder on a real disk with everything in it, which ends with the run."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.lifeboat.postgresql.tests.harness import RunFolder, guard, server_folder
from debian_packages import Unavailable


@dataclass(frozen=True)
class Stage:
    """Folders of a run."""

    run_folder: RunFolder  # below /tmp: sockets, commands, logs
    disk: Path  # below build/: clusters, repositories, restores

    @property
    def sockets(self) -> Path:
        """Where servers have their sockets."""
        return self.run_folder.path / "s"

    @property
    def commands(self) -> Path:
        """What is measured, and its settings."""
        return self.run_folder.path / "c"

    @property
    def log(self) -> Path:
        """What the last measured command wrote."""
        return self.run_folder.path / "log"


@contextmanager
def stage(work: Path, cache: Path, needed_bytes: int) -> Iterator[Stage]:
    """Folders that are gone afterwards, whatever happens. Raises Unavailable when another benchmark runs."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".bench.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable("another benchmark is running, and two at once would measure each other") from None
        disk = work / "bench"
        guard.end_run(disk)  # what a run left whose guard was killed, too
        free = shutil.disk_usage(work).free
        if free < needed_bytes:
            raise Unavailable(
                f"this scale needs about {needed_bytes >> 30} GiB, {work} has {free >> 30} free: use a smaller SCALE"
            )
        server_folder(disk)
        run_folder = RunFolder()
        watcher = subprocess.Popen(
            [sys.executable, guard.__file__, str(disk)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        try:
            made = Stage(run_folder, disk)
            server_folder(made.sockets, 0o700)
            server_folder(made.commands)
            yield made
        finally:
            watcher.communicate()
            run_folder.finish()


def make_private(path: Path, content: str) -> None:
    """Write a file that only the server's user can read."""
    path.write_text(content)
    path.chmod(0o600)
    owner = path.parent.stat()
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)
