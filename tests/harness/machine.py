# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This machine as the tests use it: where things are, which user servers run as, how a program is run."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
BUILD = (CHECKOUT / "build").resolve()
PROGRAMS = BUILD / "venv/bin"  # its real path: other users can execute what is there, wherever the checkout lies

# Nothing of the developer's own environment (PGHOST, ANSIBLE_*, a locale) reaches what is tested.
CLEAN_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class CommandFailed(Exception):
    """A program ended with an error; the message has its command and what it wrote, there or to its log."""

    def __init__(self, done: subprocess.CompletedProcess[str], log: str = "") -> None:
        super().__init__(f"{' '.join(map(str, done.args))}: exit {done.returncode}\n{done.stdout}{done.stderr}{log}")
        self.done = done


@cache
def server_user() -> pwd.struct_passwd:
    """Whom servers and their files belong to: ourselves, or when we are root `postgres`, or else `nobody`."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("root needs an ordinary user to run PostgreSQL as: this machine has neither postgres nor nobody")


def run(
    command: Sequence[str | Path],
    *,
    user: pwd.struct_passwd | None = None,
    cwd: Path = Path("/"),
    env: Mapping[str, str] | None = None,
    check: bool = True,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, as *user* (default: who we are), with a clean environment plus *env* and no terminal.

    Raises CommandFailed when it ends with an error, unless *check* is false.
    """
    __tracebackhide__ = True
    drop = user if user and user.pw_uid != os.geteuid() else None
    done = subprocess.run(
        list(command),
        cwd=cwd,
        env={**CLEAN_ENVIRONMENT, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        start_new_session=True,
        umask=0o022,
        user=drop.pw_uid if drop else None,
        group=drop.pw_gid if drop else None,
        extra_groups=[] if drop else None,
    )
    if check and done.returncode:
        raise CommandFailed(done)
    return done


def server_folder(path: Path, mode: int = 0o755) -> Path:
    """Make a folder that belongs to the server's user."""
    path.mkdir()
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, server_user().pw_uid, server_user().pw_gid)
    return path


def cannot_be_had(reason: str) -> NoReturn:
    """Skip the test because a component is missing; with LIFEBOAT_SKIP_NOTHING=1, as in CI, fail it."""
    if os.environ.get("LIFEBOAT_SKIP_NOTHING") == "1":
        pytest.fail(f"{reason} (and LIFEBOAT_SKIP_NOTHING=1)", pytrace=False)
    pytest.skip(reason)
