# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restarting a production server, without going behind a service manager's back."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from ..errors import PreconditionError
from ..ports import ProcessRunner
from . import postmaster_pid
from .programs import Programs

_UNIT = re.compile(r"/([^/]*(?:postgres|pgsql|patroni)[^/]*\.service)")


def systemd_unit(data_directory: Path) -> str | None:
    """The unit that a running server belongs to, if systemd started it."""
    running = postmaster_pid.read(data_directory)
    if running is None:
        return None
    try:
        found = _UNIT.search(Path(f"/proc/{running.pid}/cgroup").read_text())
    except OSError:
        return None
    return found.group(1) if found else None


def log_file(data_directory: Path) -> Path | None:
    """The file that a running server writes its messages into, as long as it has no collector for them."""
    running = postmaster_pid.read(data_directory)
    with contextlib.suppress(OSError):
        target = Path(os.readlink(f"/proc/{running.pid if running else 0}/fd/2"))
        if target.is_file():
            return target
    return None


def restart(programs: Programs, data_directory: Path, runner: ProcessRunner, timeout: int) -> None:
    """Restart with the same command line. A unit's server is left to its unit."""
    attempted = f"restarting the server in {data_directory}"
    unit = systemd_unit(data_directory)
    if unit is not None:
        raise PreconditionError(
            attempted,
            f"it belongs to the systemd unit {unit}, which must do it.",
            f"Run: systemctl restart {unit}; then run this again for the proof.",
            code="restart_needs_service_manager",
            unit=unit,
        )
    argv = [programs.path("pg_ctl"), "restart", "-w", "-t", str(timeout), "-m", "fast", "-D", str(data_directory)]
    log = log_file(data_directory) or data_directory / "server.log"  # messages go on where they went
    runner.run([*argv, "-l", str(log)], attempted=attempted)
