# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job files: what a running job tells, where others on the host can follow it.

One JSON object per line, appended: first who runs (`event: job`), then the events. Only their
author can read them. Keeping a job file never fails a job: without one, nobody can follow it,
and that is all.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from pathlib import Path
from typing import Any

from ..clock import Clock, SystemClock, utc_text
from ..errors import PreconditionError
from .events import Event, Progress, from_dict

JOB_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
SUFFIX = ".jsonl"
_KEPT = 50  # job files in a directory, the running ones among them
_PROGRESS_SECONDS = 0.5


def job_directory() -> Path:
    """Where job files of this user are. Never a place where other users can write."""
    if os.geteuid() == 0:
        return Path("/run/lifeboat/jobs")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.access(runtime, os.W_OK | os.X_OK):
        return Path(runtime) / "lifeboat/jobs"
    return Path.home() / ".local/state/lifeboat/jobs"


class JobFile:
    """Appends events to a job file. Of Progress, as many are written as somebody could read.

    Threads may share it. `path` None, or one that cannot be written, makes it a silent one.
    """

    def __init__(self, path: Path | None, clock: Clock | None = None) -> None:
        self.path = path
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._held_back: Event | None = None
        self._progress_written_at = float("-inf")
        self._descriptor: int | None = None
        if path is not None:
            with contextlib.suppress(OSError):
                self._descriptor = _create(path)

    def emit(self, event: Event) -> None:
        """Append the event, or hold it back until it is known whether a newer one replaces it."""
        with self._lock:
            if isinstance(event, Progress):
                now = self._clock.monotonic()
                if now - self._progress_written_at < _PROGRESS_SECONDS:
                    self._held_back = event
                    return
                self._progress_written_at = now
            elif self._held_back is not None:
                self._append(self._held_back.as_dict())
            self._held_back = None
            self._append(event.as_dict())

    def introduce(self, job_id: str, command: str) -> None:
        """Write the first line: which job this is, and the process that answers for it."""
        with self._lock:
            self._append({"event": "job", "job_id": job_id, "command": command, "pid": os.getpid()})

    def close(self) -> None:
        """Write no more."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _append(self, fields: dict[str, Any]) -> None:
        line = json.dumps({"time": utc_text(self._clock.now()), **fields})
        if self._descriptor is not None:
            with contextlib.suppress(OSError):  # the file system is full: later lines may fit again
                os.write(self._descriptor, line.encode() + b"\n")


def open_job(job_id: str, command: str) -> JobFile:
    """Begin the job file of `command`, replacing an older one of this id and dropping the oldest."""
    if not JOB_ID.fullmatch(job_id):
        raise PreconditionError(
            "opening the job file",
            f"{job_id!r} is no job id.",
            "Use up to 64 letters, digits, dots, hyphens and underscores, not beginning with a dot.",
            code="job_id_invalid",
        )
    try:
        directory = job_directory()
        directory.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return JobFile(None)
    with contextlib.suppress(OSError):  # another job may be pruning too
        _prune(directory)
    job = JobFile(directory / (job_id + SUFFIX))
    job.introduce(job_id, command)
    return job


def parse_line(line: str) -> Event | None:
    """The event on a line of a job file; None for anything else, such as a half-written line."""
    try:
        fields = json.loads(line)
        fields.pop("time", None)
        return from_dict(fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _create(path: Path) -> int:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    path.unlink(missing_ok=True)
    return os.open(path, flags, 0o600)


def _prune(directory: Path) -> None:
    newest_first = sorted(directory.glob("*" + SUFFIX), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first[_KEPT - 1 :]:
        path.unlink(missing_ok=True)
