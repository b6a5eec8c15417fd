# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a command costs: wall time, processor time and memory, its children included."""

from __future__ import annotations

import os
import pwd
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_SECONDS = 0.2
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_LOG_LINES = 20

Command = Sequence[str | Path]


class CommandFailed(Exception):
    """A measured command ended with an error; the message has its command and the end of what it wrote."""


@dataclass(frozen=True)
class Usage:
    """What one run took."""

    seconds: float
    cpu_seconds: float  # of the command and of all children that it waited for
    peak_bytes: int  # see `measure`


def measure(
    command: Command,
    user: pwd.struct_passwd,
    environment: dict[str, str],
    log: Path,
    started: Callable[[int], None] = lambda _pid: None,
) -> Usage:
    """Run a command to its end as *user*; *started* is told its process. Raises CommandFailed.

    The peak is the largest sum of resident memory (RSS) over all processes of the command that was seen at any of
    five looks per second, or what the kernel says of the largest single process, if that is more. Pages that processes
    share count for each of them.
    """
    as_other = user.pw_uid != os.geteuid()
    with log.open("wb") as output:
        beginning = time.monotonic()
        process = subprocess.Popen(
            [os.fspath(word) for word in command],
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user.pw_uid if as_other else None,
            group=user.pw_gid if as_other else None,
            extra_groups=[] if as_other else None,
        )
        sampler = _MemorySampler(process.pid)
        sampler.start()
        started(process.pid)
        _pid, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - beginning
        sampler.finish()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
        raise CommandFailed(f"{' '.join(map(str, command))}: exit {process.returncode}\n{tail}")
    return Usage(seconds, used.ru_utime + used.ru_stime, max(sampler.peak_bytes, used.ru_maxrss * 1024))


class _MemorySampler(threading.Thread):
    """Looks, again and again, at the memory of all processes of one session."""

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self._session = session
        self._finished = threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        while not self._finished.wait(_SAMPLE_SECONDS):
            self.peak_bytes = max(self.peak_bytes, _resident_bytes(self._session))

    def finish(self) -> None:
        """Look no more."""
        self._finished.set()
        self.join()


def _resident_bytes(session: int) -> int:
    total = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path("/proc", name, "stat").read_text()
            except OSError:  # gone meanwhile
                continue
            fields = stat.rpartition(")")[2].split()  # from the third field, the state, on
            if int(fields[3]) == session:
                total += int(fields[21]) * _PAGE_BYTES
    return total
