# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What optional repositories lack of a cluster's WAL, and how they get it.

A file that an optional repository does not take at once is owed to it: a small file says so, until
it is there. It comes from `pg_wal` while the server has it, and from a required repository later.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ...background import make_folders
from ...clock import Clock
from ...errors import LifeboatError
from ...wal_spool import WalSpool
from .archive import Destination
from .retry import Retry

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class Debts:
    """The optional repositories of one cluster."""

    def __init__(
        self,
        optional: Sequence[Destination],
        source: Destination,
        spool: WalSpool,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        self._source = source
        self._debts = [_Debt(place, spool, clock) for place in optional]
        self._say = say

    def owe(self, file_name: str) -> None:
        """Every optional repository lacks this file from now on."""
        for debt in self._debts:
            debt.owe(file_name)

    def any(self) -> bool:
        """Whether something is still owed."""
        return any(debt.is_running() or debt.files() for debt in self._debts)

    def work(self, workers: ThreadPoolExecutor, ring: Callable[[], None]) -> None:
        """Have the next file of each brought, unless one is on its way or the last attempt was just now."""
        for debt in self._debts:
            debt.collect(self._say)
            debt.start(workers, self._source, ring)


class _Debt:
    """What one repository is owed."""

    def __init__(self, place: Destination, spool: WalSpool, clock: Clock) -> None:
        self._place = place
        self._spool = spool
        self._folder = spool.owed(place.name)
        self._running: Future[None] | None = None
        self._retry = Retry(clock, _FIRST_PAUSE, _LONGEST_PAUSE)
        make_folders(self._folder)

    def owe(self, file_name: str) -> None:
        self._spool.owe(self._place.name, file_name)

    def files(self) -> list[str]:
        return sorted(os.listdir(self._folder))

    def is_running(self) -> bool:
        return self._running is not None

    def start(self, workers: ThreadPoolExecutor, source: Destination, ring: Callable[[], None]) -> None:
        if self._running is not None or not self._retry.due():
            return
        files = self.files()
        if files:
            self._running = workers.submit(self._pay, files[0], source)
            self._running.add_done_callback(lambda _done: ring())

    def collect(self, say: Callable[[str], None]) -> None:
        if self._running is None or not self._running.done():
            return
        error, self._running = self._running.exception(), None
        if error is None:
            self._retry.worked()
            return
        self._retry.failed()
        message = f"[{error.code}]: {error.message}" if isinstance(error, LifeboatError) else repr(error)
        say(f"the optional repository {self._place.name} lags behind: {message}")

    def _pay(self, file_name: str, source: Destination) -> None:
        """In a worker: the required repository knows what was acknowledged; pg_wal may have something else by now."""
        archive = source.archive()
        archived = archive.find(file_name)
        if archived is not None:
            content: bytes | None = None
            with contextlib.suppress(OSError):
                content = Path(self._spool.wal, file_name).read_bytes()
            if content is None or not archive.has_content(archived, content):
                content = archive.fetch(archived)
            self._place.store(file_name, content)
        os.unlink(f"{self._folder}/{file_name}")  # or retention was faster
