# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding pg_dump and its like: of the server's version, or newer. Older ones refuse to work."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..errors import PreconditionError
from ..ports import ProcessRunner
from . import postmaster_pid
from .programs import Programs

_WELL_KNOWN = (
    (Path("/usr/lib/postgresql"), re.compile(r"(\d+)\Z"), "bin"),
    (Path("/usr"), re.compile(r"pgsql-(\d+)\Z"), "bin"),
)
_PROBE = "pg_dump"
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


def find(major: int, configured: Path | None, data_directory: Path | None, runner: ProcessRunner) -> Programs:
    """The configured directory's, the running server's own, or the best of the distribution's usual places.

    Of several versions that can read the server, the nearest: what it writes, the server's own programs can read.
    """
    if configured is not None:
        found = _version(configured, runner)
        if found is None:
            raise _missing(major, f"{configured / _PROBE} does not exist or cannot be executed.")
        if found < major:
            raise _missing(major, f"{configured / _PROBE} is of PostgreSQL {found}, and the server of {major}.")
        return Programs(configured, found)
    usable = [(version, directory) for version, directory in _candidates(data_directory, runner) if version >= major]
    if usable:
        version, directory = min(usable, key=lambda each: each[0])
        return Programs(directory, version)
    seen = sorted({version for version, _directory in _candidates(data_directory, runner)})
    there = f"only those of PostgreSQL {', '.join(map(str, seen))} are there" if seen else "there are none"
    raise _missing(major, f"{there} in the usual places.")


def _candidates(data_directory: Path | None, runner: ProcessRunner) -> Iterator[tuple[int, Path]]:
    for folder, name, below in _WELL_KNOWN:
        for path in sorted(folder.glob("*")) if folder.is_dir() else ():
            match = name.match(path.name)
            if match and os.access(path / below / _PROBE, os.X_OK):
                yield int(match[1]), path / below
    others = [Path(found).parent] if (found := shutil.which(_PROBE)) else []
    running = postmaster_pid.read(data_directory) if data_directory else None
    if running is not None:
        with contextlib.suppress(OSError):  # another user's process
            others.append(Path(os.readlink(f"/proc/{running.pid}/exe")).parent)
    for directory in others:
        version = _version(directory, runner)
        if version is not None:
            yield version, directory


def _version(directory: Path, runner: ProcessRunner) -> int | None:
    program = directory / _PROBE
    if not os.access(program, os.X_OK):
        return None
    said = runner.run([str(program), "--version"], attempted=f"asking {program} for its version").stdout
    match = _VERSION.search(said)
    return int(match[1]) if match else None


def _missing(major: int, happened: str) -> PreconditionError:
    return PreconditionError(
        f"looking for the client programs of PostgreSQL {major}",
        happened,
        f"Install the package postgresql-client-{major} (Debian, Ubuntu) or postgresql{major} (Red Hat), or set bin_dir"
        " to where they are.",
        code="client_programs_missing",
        major=major,
    )
