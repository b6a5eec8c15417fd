# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The background of `archive_command`: whatever the server wants archived, many files at a time.

A file is acknowledged when every required repository has it. Optional repositories are owed what
they lack, and get it when they can. When a repository does not take WAL, the server keeps it;
only with a drop policy is the oldest given up, once too much is waiting, and noted as a gap.

Killed at any moment it loses nothing: what is not acknowledged is archived again, and the same
file twice is one object. The next foreground starts another one.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ... import wal_spool
from ...background import Bell, ChangedFile, make_folders, only_one, remove_files
from ...clock import Clock
from ...errors import IntegrityError, LifeboatError
from ...postgres import postmaster_pid
from ...specs import ArchiveSpec
from ...wal_spool import CLAIM_FILE, WalSpool
from . import claim
from .archive import Destination, read_wal_file
from .debts import Debts
from .dropping import Dropping

_IDLE_SECONDS = 300.0
_LOOK_SECONDS = 1.0
_FIRST_RETRY, _LONGEST_RETRY = 1.0, 60.0
_MEMORY_BYTES = 128 << 20


@dataclass(frozen=True)
class PusherRequest:
    """What the background is asked to do."""

    archive: ArchiveSpec
    stanza: str
    data_directory: Path
    greeting: str = ""  # what a foreground with the same options says
    config_file: Path | None = None
    jobs: int = 2
    idle_seconds: float = _IDLE_SECONDS


def run(request: PusherRequest, clock: Clock) -> bool:
    """Archive until the server is gone or nothing has happened for long. False when another one does already."""
    life = claim.require_claimed(request.data_directory)
    facts = claim.facts_of(request.data_directory)
    spool = WalSpool(str(request.data_directory), wal_spool.life_name(facts.system_identifier, life))
    make_folders(spool.folder, spool.failed)
    with only_one(spool.lock(wal_spool.PUSH)) as alone:
        if not alone:
            return False
        remove_files(spool.failed)
        spool.keep_acknowledgements_of_this_life()
        with contextlib.closing(Bell(spool.bell(wal_spool.PUSH))) as bell:
            _Pusher(request, life, facts, spool, bell, clock).work()
    return True


class _Pusher:
    """One run of the background. Only its main thread decides; workers store files and ring."""

    def __init__(
        self,
        request: PusherRequest,
        life: str,
        facts: claim.Facts,
        spool: WalSpool,
        bell: Bell,
        clock: Clock,
    ) -> None:
        self._request = request
        self._spool = spool
        self._bell = bell
        self._clock = clock
        self._facts = facts
        self._required = [
            Destination(copy, request.stanza, lambda: facts, life, clock) for copy in request.archive.required
        ]
        optional = [Destination(copy, request.stanza, lambda: facts, life, clock) for copy in request.archive.optional]
        self._debts = Debts(optional, self._required[0], spool, clock, say)
        policy = request.archive.drop_after
        self._dropping = Dropping(policy, self._required, spool, facts.wal_segment_bytes, clock, say)
        self._jobs = max(1, min(request.jobs, _MEMORY_BYTES // facts.wal_segment_bytes))
        self._running: dict[str, Future[None]] = {}
        self._retry: dict[str, tuple[float, float]] = {}  # file -> when, and the pause after that
        self._paused_until = 0.0

    def work(self) -> None:
        """Until there is no reason to stay."""
        given = [ChangedFile(self._request.config_file), ChangedFile(self._request.data_directory / CLAIM_FILE)]
        busy = looked = self._clock.monotonic()
        queue: list[str] = self._waiting()
        with ThreadPoolExecutor(self._jobs + 1, "push") as workers:
            while True:
                self._submit(queue, workers)
                self._debts.work(workers, self._bell.ring)
                now = self._clock.monotonic()
                if self._running or self._debts.any():
                    busy = now
                said = self._bell.said(_LOOK_SECONDS)
                if any(said):
                    self._paused_until = 0.0
                    self._retry.clear()
                self._collect()
                now = self._clock.monotonic()
                if self._has_successor(said) or (now - looked >= _LOOK_SECONDS and self._is_over(given, now - busy)):
                    return
                if not queue or any(said) or now - looked >= _LOOK_SECONDS:
                    queue = self._waiting()
                if now - looked >= _LOOK_SECONDS:
                    looked = now
                    self._forget_old()

    # --- when to end

    def _has_successor(self, said: list[str]) -> bool:
        return any(line and line != self._request.greeting for line in said)

    def _is_over(self, given: Iterable[ChangedFile], idle: float) -> bool:
        if not postmaster_pid.is_running(self._request.data_directory) or any(each.changed() for each in given):
            return True
        return idle > self._request.idle_seconds and not self._running

    # --- what to do

    def _waiting(self) -> list[str]:
        """What the server waits for and nobody has archived or is at, in its order."""
        names = self._spool.ready()
        waiting = [name for name in names if name not in self._running and not self._is_acknowledged(name)]
        for name in self._dropping.give_up(waiting):
            with contextlib.suppress(FileNotFoundError):
                self._spool.acknowledge(name, os.stat(f"{self._spool.wal}/{name}"))
        return [name for name in waiting if not self._is_acknowledged(name)]

    def _is_acknowledged(self, name: str) -> bool:
        try:
            return self._spool.is_acknowledged(name, os.stat(f"{self._spool.wal}/{name}"))
        except FileNotFoundError:
            return True  # archived and recycled since we looked

    def _room(self) -> bool:
        return len(self._running) < self._jobs

    def _submit(self, queue: list[str], workers: ThreadPoolExecutor) -> None:
        now, later = self._clock.monotonic(), []
        while queue and self._room() and now >= self._paused_until:
            name = queue.pop(0)
            if self._retry.get(name, (0.0, 0.0))[0] > now:
                later.append(name)
                continue
            self._running[name] = workers.submit(self._push, name)
            self._running[name].add_done_callback(lambda _done: self._bell.ring())
        queue[:0] = later

    def _push(self, name: str) -> None:
        """In a worker: one file into every required repository."""
        path = Path(self._spool.wal, name)
        facts = path.stat()
        content = read_wal_file(path)
        self._dropping.store(name, content)
        self._acknowledge(name, facts)

    def _acknowledge(self, name: str, facts: os.stat_result) -> None:
        self._debts.owe(name)  # first: a debt that is not due does no harm, one that is forgotten does
        self._spool.acknowledge(name, facts)

    def _collect(self) -> None:
        for name, future in list(self._running.items()):
            if not future.done():
                continue
            del self._running[name]
            error = future.exception()
            if error is None:
                self._retry.pop(name, None)
                continue
            if isinstance(error, FileNotFoundError):
                continue
            message = f"error [{error.code}]: {error.message}" if isinstance(error, LifeboatError) else repr(error)
            say(f"{name}: {message}")
            now = self._clock.monotonic()
            pause = min(_LONGEST_RETRY, max(_FIRST_RETRY, 2 * self._retry.get(name, (0.0, 0.0))[1]))
            self._retry[name] = (now + pause, pause)
            if not isinstance(error, IntegrityError):  # not about this file: the next one would fail likewise
                self._paused_until = now + pause
            with contextlib.suppress(OSError):
                self._spool.fail(name, message)

    def _forget_old(self) -> None:
        """Acknowledgements that the server has seen."""
        with contextlib.suppress(FileNotFoundError):  # forgotten by a claim
            for name in os.listdir(self._spool.acknowledged):
                if not name.startswith(".") and not self._spool.is_ready(name):
                    os.unlink(f"{self._spool.acknowledged}/{name}")


def say(text: str) -> None:
    """Into the log beside the lock."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
