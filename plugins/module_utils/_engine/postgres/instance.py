# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starting a server in a restored directory, following its recovery, stopping it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from ..clock import Clock
from ..errors import ExternalToolError, PreconditionError
from ..ports import ProcessRunner
from . import control_file, postmaster_pid
from .control_file import ClusterState
from .programs import Programs

if TYPE_CHECKING:
    from ..process import Process

LOG_NAME = "lifeboat-recovery.log"  # of a recovery, in the data directory; no backup has it
_PAUSE = 0.1
_STOP_SECONDS = 120
_FATAL = re.compile(r"(?:FATAL|PANIC|ERROR):\s+(.*)")
_MISSING_LIBRARY = re.compile(r"resource manager with ID \d+ not registered")
_REPLAYED_TABLESPACE = re.compile(r'for Tablespace/CREATE: \d+ "(.+)"')
_PAUSED = re.compile(r"pausing at the end of recovery|recovery has paused")
_LAST_COMMIT = re.compile(r"last completed transaction was at log time (.+)")


# For the start of a recovery: its messages come to our log, and in the words that we know.
FOLLOWED = {"logging_collector": "off", "log_destination": "stderr", "log_min_messages": "warning", "lc_messages": "C"}


class Outcome(Enum):
    """How a recovery can end."""

    OPEN = "open"
    PAUSED = "paused"
    STOPPED = "stopped"
    FOLLOWING = "standby"  # it does not end: a standby takes queries and goes on


@dataclass(frozen=True)
class Instance:
    """A data directory and the programs to run it with."""

    data_directory: Path
    programs: Programs
    log_file: Path
    runner: ProcessRunner
    clock: Clock

    def start(self, settings: Mapping[str, str]) -> None:
        """Start the server without waiting for it; `settings` hold for this start only."""
        self.log_file.unlink(missing_ok=True)  # what an earlier recovery has complained of would count
        options = " ".join(f"-c {name}={_shell_word(value)}" for name, value in settings.items())
        argv = [self.programs.path("pg_ctl"), "start", "-W", "-D", str(self.data_directory), "-l", str(self.log_file)]
        if options:
            argv += ["-o", options]
        self.runner.run(argv, attempted=f"starting the restored server in {self.data_directory}")

    def wait_until(self, outcome: Outcome, timeout: float, process: Process | None = None) -> None:
        """Return when the recovery has come to this end.

        The control file and the server's log are asked, not the server: they need no login and are
        right before the first connection is possible. `process` is the server where it is a child of ours.
        """
        deadline = self.clock.monotonic() + timeout
        started = False
        while True:
            running = postmaster_pid.read(self.data_directory) is not None
            ended = process is not None and not process.is_running()
            started = started or running or self._has_given_up()
            if process is None:
                ended = started and not postmaster_pid.is_running(self.data_directory)
            if self._is_at(outcome, running=running, ended=ended):
                return
            if ended:
                raise self.failure()
            if self.clock.monotonic() >= deadline:
                raise PreconditionError(
                    f"recovering in {self.data_directory}",
                    f"the target has not been reached within {timeout:g} s; the server is still replaying.",
                    "Give recovery_timeout more time; the server goes on unless it is stopped.",
                    code="recovery_timeout",
                )
            self.clock.sleep(_PAUSE)

    def _is_at(self, outcome: Outcome, *, running: bool, ended: bool) -> bool:
        if outcome is Outcome.STOPPED:
            return ended and control_file.read(self.data_directory).state is ClusterState.SHUT_DOWN_IN_RECOVERY
        if not running or ended:
            return False
        if self._status() != "ready":  # a hot standby says so too
            return False
        if outcome is Outcome.OPEN:
            return control_file.read(self.data_directory).state is ClusterState.IN_PRODUCTION
        return outcome is Outcome.FOLLOWING or any(_PAUSED.search(line) for line in self.log_tail(1000))

    def _has_given_up(self) -> bool:
        """Whether the server says why it does not start: then its postmaster.pid was there too briefly, if ever."""
        return any("FATAL:" in line or "PANIC:" in line for line in self.log_tail())

    def _status(self) -> str:
        """The last line of postmaster.pid: `ready` once the server takes connections."""
        try:
            lines = (self.data_directory / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return ""
        return lines[7].strip() if len(lines) > 7 else ""

    def stop(self, mode: str = "fast") -> None:
        """Stop; a server that is down already is no error."""
        if not postmaster_pid.is_running(self.data_directory):
            return
        argv = [self.programs.path("pg_ctl"), "stop", "-w", "-m", mode, "-t", str(_STOP_SECONDS)]
        self.runner.run(
            [*argv, "-D", str(self.data_directory)], attempted=f"stopping the server in {self.data_directory}"
        )

    def log_tail(self, lines: int = 30) -> list[str]:
        """The end of the server's log."""
        try:
            return self.log_file.read_text(errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            return []

    def stop_record(self) -> str | None:
        """Where recovery stopped, in the server's words; None when it ran to the end of the WAL."""
        found = [line.partition("LOG:")[2].strip() for line in self.log_tail(1000) if "recovery stopping" in line]
        return found[-1] if found else None

    def replayed_tablespace(self) -> Path | None:
        """The place of the tablespace that could not be made while WAL was replayed; None when that was not it."""
        found = _REPLAYED_TABLESPACE.findall("\n".join(self.log_tail()))
        return Path(found[-1]) if found else None

    def last_commit_in_log(self) -> str | None:
        """When the last replayed transaction was committed, as the server logged it."""
        try:
            found = _LAST_COMMIT.findall(self.log_file.read_text(errors="replace"))
        except FileNotFoundError:
            return None
        return found[-1].strip() if found else None

    def failure(self) -> ExternalToolError:
        """Why the server ended, from its log, with the known causes explained."""
        attempted = f"recovering in {self.data_directory}"
        tail = self.log_tail()
        messages = [match.group(1) for line in tail if (match := _FATAL.search(line))]
        text = "; ".join(dict.fromkeys(messages)) or "its log has no error message"
        details = {"log_tail": tail, "log_file": str(self.log_file)}
        if "recovery ended before configured recovery target was reached" in text:
            last = self.last_commit_in_log()
            return ExternalToolError(
                attempted,
                "the archived WAL ends before the target"
                + (f"; the last commit in it is of {last}." if last else "; it holds no commit after the backup."),
                "Choose an earlier target, or leave the target out to recover everything that is archived.",
                code="target_not_reached",
                **details,
            )
        if "recovery stop point is before consistent recovery point" in text:
            return ExternalToolError(
                attempted,
                "the target is before the point at which the backup is consistent.",
                "Choose an earlier backup, or a later target.",
                code="target_before_consistency",
                **details,
            )
        if match := _MISSING_LIBRARY.search(text):
            return ExternalToolError(
                attempted,
                f"its WAL has records of an extension whose library is not loaded: {match.group(0)}.",
                "Name the library in preload_libraries; it is one of the original's shared_preload_libraries.",
                code="preload_library_needed",
                **details,
            )
        if "could not restore file" in text or "archive-fetch" in "\n".join(tail):
            return ExternalToolError(
                attempted,
                f"WAL could not be fetched from the repository ({text}).",
                f"See {self.log_file} for what archive-fetch reported; nothing after that point was replayed.",
                code="wal_fetch_failed",
                **details,
            )
        return ExternalToolError(
            attempted, f"the server stopped: {text}.", f"See {self.log_file}.", code="server_start_failed", **details
        )


def _shell_word(value: str) -> str:
    """pg_ctl hands its -o through a shell."""
    return "'" + value.replace("'", "'\\''") + "'"
