# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding PostgreSQL's own programs of the right major version."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from ..errors import PreconditionError
from ..ports import ProcessRunner
from . import postmaster_pid

_VERSION = re.compile(r"PostgreSQL\) (\d+)")
_WELL_KNOWN = ("/usr/lib/postgresql/{major}/bin", "/usr/pgsql-{major}/bin")


class Programs:
    """The directory that holds one major version's programs."""

    def __init__(self, directory: Path, major: int) -> None:
        self.directory = directory
        self.major = major

    def path(self, name: str) -> str:
        """A program's full path; a missing one is an error that says which package has it."""
        path = self.directory / name
        if not os.access(path, os.X_OK):
            raise PreconditionError(
                f"looking for PostgreSQL's program {name}",
                f"{path} does not exist or cannot be executed.",
                f"Install PostgreSQL {self.major}'s server package, or set bin_dir.",
                code="postgres_program_missing",
            )
        return str(path)

    def has(self, name: str) -> bool:
        """Whether the program is there (pg_amcheck comes with 14)."""
        return os.access(self.directory / name, os.X_OK)


def of_version(major: int, configured: Path | None, runner: ProcessRunner) -> Programs:
    """Those of just this version: of a backup that is older than an upgrade bin_dir knows nothing."""
    found = find(major, configured)
    if configured is None:
        return found
    said = runner.run([found.path("pg_ctl"), "--version"], attempted="asking pg_ctl for its version", timeout=60).stdout
    match = _VERSION.search(said)
    if match is None or int(match[1]) == major:
        return found
    try:
        return find(major, None)
    except PreconditionError as exc:
        raise PreconditionError(
            f"looking for the programs of PostgreSQL {major}",
            f"{configured} has those of PostgreSQL {match[1]}, and no other version's are in the usual places.",
            f"This was backed up before an upgrade. Install PostgreSQL {major}'s server package on this host, or give"
            " bin_dir for this one restore.",
            code="postgres_program_missing",
        ) from exc


def find(major: int, configured: Path | None, running_in: Path | None = None) -> Programs:
    """The configured directory, the running server's own, or the distribution's usual place."""
    if configured is not None:
        return Programs(configured, major)
    if running_in is not None:
        running = postmaster_pid.read(running_in)
        try:
            if running is not None:
                return Programs(Path(os.readlink(f"/proc/{running.pid}/exe")).parent, major)
        except OSError:
            pass  # another user's process: fall through to the usual places
    for pattern in _WELL_KNOWN:
        directory = Path(pattern.format(major=major))
        if (directory / "pg_ctl").exists():
            return Programs(directory, major)
    on_path = shutil.which("pg_ctl")
    if on_path and f"/{major}/" in os.path.realpath(on_path):
        return Programs(Path(os.path.realpath(on_path)).parent, major)
    raise PreconditionError(
        f"looking for the programs of PostgreSQL {major}",
        "they are in none of the usual places.",
        f"Install PostgreSQL {major}'s server package on this host, or set bin_dir.",
        code="postgres_program_missing",
    )
