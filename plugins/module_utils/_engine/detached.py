# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting a process that outlives its parent: the background of `archive_command` and `restore_command`.

The server ends its archiver with signals to the whole process group, and waits for everybody who
holds one of its pipes. So the new process has a session of its own and inherits no open file.
"""

from __future__ import annotations

import contextlib
import os
import sys


def command(arguments: list[str]) -> list[str]:
    """This very program, called with other words."""
    packed, script = sys.path[0], sys.argv[0]
    return [
        sys.executable,
        "-I",
        os.path.realpath(packed if packed.endswith(".pyz") else script),
        *arguments,
    ]


def start(argv: list[str], log: str) -> int:
    """Start a program with nothing of ours; returns its process id. What it says goes to `log`."""
    actions: list[tuple[object, ...]] = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
    ]
    for name in os.listdir("/proc/self/fd"):
        handle = int(name)
        with contextlib.suppress(OSError):  # the one that listed them is closed by now
            if handle > 2 and os.get_inheritable(handle):
                actions.append((os.POSIX_SPAWN_CLOSE, handle))
    return os.posix_spawn(argv[0], argv, os.environ, file_actions=actions, setsid=True)


def has_ended(process: int) -> bool:
    """Whether a process that we started is gone."""
    try:
        return os.waitpid(process, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True
