# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The background of `restore_command`: the next segments, fetched and checked while the server replays this one.

What lies in the spool is whole, authenticated, of this cluster and durable; the server takes it by
renaming. Within one incarnation a segment's name has one content for ever, so nothing there can be
stale. Whether a segment is missing, and what that means, is never decided here: the foreground is
told that it has to look for itself.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .. import durable, wal_spool
from ..background import Bell, make_folders, only_one, remove_files, remove_other_lives
from ..clock import Clock
from ..errors import LifeboatError
from ..postgres import control_file, postmaster_pid, wal_names
from ..repository.access import stanza_of
from ..repository.wal import ArchivedFile, WalArchive
from ..specs import RepositorySpec
from ..wal_spool import WalSpool
from .archive import checked
from .pusher import say

_AHEAD_BYTES = 256 << 20
_LOOK_SECONDS = 0.02
_IDLE_SECONDS = 60.0


@dataclass(frozen=True)
class PrefetchRequest:
    """What the background is asked to do."""

    repository: RepositorySpec
    stanza: str
    incarnation: str
    data_directory: Path
    greeting: str = ""  # what a foreground with the same options says
    jobs: int = 2
    after: str | None = None  # the segment that is being fetched without us
    ahead_bytes: int = _AHEAD_BYTES
    idle_seconds: float = _IDLE_SECONDS


def run(request: PrefetchRequest, clock: Clock) -> bool:
    """Fetch ahead until the recovery is over or nobody takes anything. False when another one does already."""
    control_file.read(request.data_directory)  # nothing is made in what is no data directory
    spool = WalSpool(str(request.data_directory), request.incarnation)
    make_folders(spool.folder, spool.fetched)
    with only_one(spool.lock(wal_spool.FETCH)) as alone:
        if not alone:
            return False
        remove_other_lives(os.path.dirname(spool.fetched), spool)
        remove_files(spool.fetched)
        try:
            with contextlib.closing(Bell(spool.bell(wal_spool.FETCH))) as bell:
                _Prefetcher(request, spool, bell, clock).work()
        finally:
            remove_files(spool.fetched)
            with contextlib.suppress(OSError):
                os.rmdir(spool.fetched)
    return True


class _Prefetcher:
    """One run of the background."""

    def __init__(self, request: PrefetchRequest, spool: WalSpool, bell: Bell, clock: Clock) -> None:
        stanza = stanza_of(request.repository, request.stanza)
        self._archive = WalArchive(stanza, stanza.life(request.incarnation))
        self._request = request
        self._spool = spool
        self._bell = bell
        self._clock = clock
        self._segment_bytes = self._archive.life.wal_segment_bytes
        self._most = max(2, request.ahead_bytes // self._segment_bytes)
        self._jobs = max(1, min(request.jobs, self._most))
        self._reading = threading.Semaphore(self._jobs)
        self._running: dict[str, Future[bool]] = {}
        self._upcoming: Iterator[str] = self._after(request.after) if request.after else iter(())

    def work(self) -> None:
        """Until there is no reason to stay."""
        taken = self._clock.monotonic()
        present = self._present()
        at_once = min(2 * self._jobs, self._most)  # half of them wait for the disk
        with ThreadPoolExecutor(at_once, "fetch") as workers:
            while True:
                while len(self._running) < at_once and len(self._running) + len(present) < self._most:
                    name = next(self._upcoming, None)
                    if name is None:
                        break
                    self._start(name, workers)
                said = self._bell.wait(_LOOK_SECONDS)
                for line in filter(None, said):
                    greeting, _mark, wanted = line.rpartition(wal_spool.WANTED)
                    if greeting != self._request.greeting:
                        return
                    self._want(wanted, workers)
                self._collect()
                before, present = present, self._present()
                now = self._clock.monotonic()
                if any(said) or before - present:
                    taken = now
                if self._is_over(now - taken):
                    return

    def _is_over(self, idle: float) -> bool:
        directory = self._request.data_directory
        if not postmaster_pid.is_running(directory) or idle > self._request.idle_seconds:
            return True
        return not any((directory / name).exists() for name in ("recovery.signal", "standby.signal"))

    def _present(self) -> set[str]:
        return {name for name in os.listdir(self._spool.fetched) if not name.startswith(".")}

    def _after(self, name: str) -> Iterator[str]:
        """The segments behind this one on its timeline, whether they exist or not."""
        segment = wal_names.parse_segment_name(name, self._segment_bytes)
        number = segment.number
        while True:
            number += 1
            yield wal_names.WalSegment(segment.timeline, number, self._segment_bytes).name

    def _start(self, name: str, workers: ThreadPoolExecutor) -> None:
        self._running[name] = workers.submit(self._fetch, name)
        self._running[name].add_done_callback(lambda _done: self._bell.ring())

    def _want(self, name: str, workers: ThreadPoolExecutor) -> None:
        """Somebody waits for this one. If it is no part of what comes next, all begins anew behind it."""
        if name in self._running:
            return
        present = self._present()
        if name in present:
            return
        if not any(each[:8] == name[:8] and each > name for each in present | set(self._running)):
            for each in present:  # not what workers are writing
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{self._spool.fetched}/{each}")
            self._upcoming = self._after(name)
        self._start(name, workers)

    def _collect(self) -> None:
        for name, future in list(self._running.items()):
            if not future.done():
                continue
            del self._running[name]
            error = future.exception()
            if error is not None:
                say(f"{name}: {error.message if isinstance(error, LifeboatError) else repr(error)}")
            if error is not None or not future.result():
                self._upcoming = iter(())  # until somebody asks for it again
                with open(self._spool.not_fetched(name), "w", encoding="ascii"):
                    pass

    def _fetch(self, name: str) -> bool:
        """In a worker: one segment into the spool. False when the archive does not have it."""
        archived = self._archive.find(name)
        if archived is None:
            return False
        with contextlib.closing(self._read(archived)) as pieces:
            # durable before it has its name: after a power failure nobody would look at it once more
            durable.write_pieces(Path(self._spool.fetched, name), pieces, 0o600)
        return True

    def _read(self, archived: ArchivedFile) -> Generator[bytes, None, None]:
        """The content of one of so many at once; when it ends, the next is read while this one is being synced."""
        with self._reading:
            yield from checked(archived.file_name, self._archive.pieces(archived), self._archive.life)
