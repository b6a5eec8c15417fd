# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The background of `restore_command`: the next segments, fetched and checked while the server replays this one.

What lies in the spool is whole, authenticated, of this cluster and durable; the server takes it by
renaming. Within one incarnation a file's name has one content for ever, so nothing there can be
stale. That the archive ends is only ever said of a look that began after the question. Whatever else
there is to say - a gap, damage, a partial - is left to the foreground, which looks for itself.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ... import durable, wal_spool
from ...background import Bell, Call, make_folders, only_one, remove_files, remove_other_lives
from ...clock import Clock
from ...errors import LifeboatError
from ...postgres import control_file, postmaster_pid, wal_names
from ...repository.wal import ArchivedFile
from ...specs import RepositorySpec
from ...wal_spool import MISSING, READY, UNDECIDED, WalSpool
from . import fetch
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
    ahead_bytes: int = _AHEAD_BYTES
    idle_seconds: float = _IDLE_SECONDS


def run(request: PrefetchRequest, clock: Clock) -> bool:
    """Fetch ahead until the recovery is over or nobody takes anything. False when another one does already."""
    control_file.read(request.data_directory)  # nothing is made in what is no data directory
    spool = WalSpool(str(request.data_directory), request.incarnation)
    make_folders(spool.folder)
    with only_one(spool.lock(wal_spool.FETCH)) as alone:
        if not alone:
            return False
        make_folders(spool.fetched)  # not before: it may be what the one that is ending has just removed
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


class _Look:
    """One file that a worker looks for, and who waits for what comes of it."""

    def __init__(self, future: Future[str], asked: list[Call]) -> None:
        self.future = future
        self.asked = asked  # before it began
        self.late: list[Call] = []  # a file that is missing may have come before they asked


class _Prefetcher:
    """One run of the background."""

    def __init__(self, request: PrefetchRequest, spool: WalSpool, bell: Bell, clock: Clock) -> None:
        self._archive = fetch.archive_of(_question(request, ""))
        self._request = request
        self._spool = spool
        self._bell = bell
        self._clock = clock
        self._segment_bytes = self._archive.life.wal_segment_bytes
        self._most = max(2, request.ahead_bytes // self._segment_bytes)
        self._jobs = max(1, min(request.jobs, self._most))
        self._reading = threading.Semaphore(self._jobs)
        self._listed: dict[str, ArchivedFile] = {}
        self._running: dict[str, _Look] = {}
        self._upcoming: Iterator[str] = iter(())

    def work(self) -> None:
        """Until there is no reason to stay."""
        taken = self._clock.monotonic()
        present = self._present()
        at_once = min(2 * self._jobs, self._most)  # half of them wait for the disk
        with ThreadPoolExecutor(at_once, "fetch") as workers, contextlib.ExitStack() as at_the_end:
            at_the_end.callback(self._leave)
            while True:
                while len(self._running) < at_once and len(self._running) + len(present) < self._most:
                    name = next(self._upcoming, None)
                    if name is None:
                        break
                    self._start(name, [], workers)
                calls = self._bell.wait(_LOOK_SECONDS)
                asked = [self._wanted(call) for call in calls]
                if None in asked:  # somebody with other options, or nobody needs us any more
                    for call in calls:
                        call.close()
                    return
                for call, wanted in zip(calls, asked):
                    if wanted:
                        self._want(wanted, call, workers)
                self._collect(workers)
                before, present = present, self._present()
                now = self._clock.monotonic()
                if any(call.text for call in calls) or before - present:
                    taken = now
                if self._is_over(now - taken):
                    return

    def _leave(self) -> None:
        """Who still waits has to look for himself, or to ask the next background."""
        for look in self._running.values():
            for call in (*look.asked, *look.late):
                call.close()

    def _wanted(self, call: Call) -> str | None:
        """The file that is asked for, empty when it only rang; None when it was not for this background."""
        greeting, mark, wanted = call.text.rpartition(wal_spool.WANTED)
        if mark:
            return wanted if greeting == self._request.greeting else None
        return "" if call.text in ("", self._request.greeting) else None

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

    def _start(self, name: str, asked: list[Call], workers: ThreadPoolExecutor) -> None:
        future = workers.submit(self._look_for, name, bool(asked))
        self._running[name] = _Look(future, asked)
        future.add_done_callback(lambda _done: self._bell.ring())

    def _want(self, name: str, call: Call, workers: ThreadPoolExecutor) -> None:
        """Somebody waits for this one. If it is no part of what comes next, all begins anew behind it."""
        if name in self._running:
            self._running[name].late.append(call)
            return
        present = self._present()
        if name in present:
            call.answer(READY)
            return
        if wal_names.classify(name) is wal_names.WalFileKind.SEGMENT and not any(
            each[:8] == name[:8] and each > name for each in present | set(self._running)
        ):
            for each in present:  # not what workers are writing
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{self._spool.fetched}/{each}")
            self._upcoming = self._after(name)
        self._start(name, [call], workers)

    def _collect(self, workers: ThreadPoolExecutor) -> None:
        for name, look in list(self._running.items()):
            if not look.future.done():
                continue
            del self._running[name]
            error = look.future.exception()
            if error is not None:
                say(f"{name}: {error.message if isinstance(error, LifeboatError) else repr(error)}")
            found = UNDECIDED if error is not None else look.future.result()
            if found != READY and wal_names.classify(name) is wal_names.WalFileKind.SEGMENT:
                self._upcoming = iter(())  # until somebody asks for it again
            for call in look.asked:
                call.answer(found)
            if found != MISSING:
                for call in look.late:
                    call.answer(found)
            elif look.late:
                self._start(name, look.late, workers)

    def _look_for(self, name: str, asked: bool) -> str:
        """In a worker: one file into the spool. It is not said to be missing where nobody asks."""
        if wal_names.classify(name) is None:
            return UNDECIDED
        archived = self._find(name)
        if archived is None:
            return MISSING if not asked or fetch.is_the_end(_question(self._request, name)) else UNDECIDED
        with contextlib.closing(self._read(archived)) as pieces:
            # durable before it has its name: after a power failure nobody would look at it once more
            durable.write_pieces(Path(self._spool.fetched, name), pieces, 0o600)
        return READY

    def _find(self, name: str) -> ArchivedFile | None:
        """One listing brings the next ones, too: what is archived stays what it is."""
        listed = self._listed
        if name not in listed:
            listed = self._listed = self._archive.beside(name)
        return listed.get(name)

    def _read(self, archived: ArchivedFile) -> Generator[bytes, None, None]:
        """The content of one of so many at once; when it ends, the next is read while this one is being synced."""
        with self._reading:
            yield from checked(archived.file_name, self._archive.pieces(archived), self._archive.life)


def _question(request: PrefetchRequest, file_name: str) -> fetch.FetchRequest:
    """What a foreground would ask that looks for itself."""
    destination = request.data_directory / "pg_wal" / file_name
    return fetch.FetchRequest(request.repository, request.stanza, file_name, destination, request.incarnation)
