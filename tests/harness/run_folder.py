# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One folder for everything that a test run makes, and the certainty that nothing of it outlives the run."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from . import guard

PARENT = Path(
    "/tmp"
).resolve()  # short, because a socket's path has at most 107 characters; and open to the server's user
PREFIX = "lb-"


class RunFolder:
    """A run's folder: /tmp/lb-XXXXXXXX, which other users can enter.

    It is locked while its run lives. Its guard clears it when the run ends, killed or not; when the guard was killed
    too, the next run does.
    """

    def __init__(self) -> None:
        """Clear what dead runs left, make a folder and start its guard."""
        clear_leftovers()
        # Locked under another name first: no other run can take it for a leftover in between.
        hidden = Path(tempfile.mkdtemp(prefix="." + PREFIX, dir=PARENT))
        lock = os.open(hidden, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        hidden.chmod(0o755)
        self.path = hidden.rename(hidden.with_name(hidden.name.removeprefix(".")))
        self._lock = lock
        self._guard = subprocess.Popen(
            [sys.executable, guard.__file__, str(self.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
            pass_fds=[lock],
        )
        assert self._guard.stdout is not None
        if self._guard.stdout.readline() != guard.READY:
            raise RuntimeError("the guard of the test run did not start; its error is above")

    @property
    def guard_pid(self) -> int:
        """The guard's process."""
        return self._guard.pid

    def folder(self, name: str) -> Path:
        """A folder of the run, made when it is first asked for."""
        path = self.path / name
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
        return path

    def finish(self) -> None:
        """End what still runs and remove the folder."""
        self._guard.communicate()
        os.close(self._lock)


def clear_leftovers() -> None:
    """Do the guard's work for those of this user's runs that died together with their guard."""
    for folder in PARENT.glob(PREFIX + "*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:  # gone meanwhile, or not a folder
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            guard.end_run(folder)
        except BlockingIOError:  # its run is alive
            pass
        finally:
            os.close(lock)
