# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is of an unfinished segment, for the optional repositories of a receiver.

They get what the required ones get, and nobody waits for them: one that is slow or away holds up
nothing, and is only told of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from ...clock import Clock
from ...errors import LifeboatError
from ...postgres.wal_names import WalSegment
from ..wal.archive import Destination
from ..wal.retry import Retry
from .spool import ReceiveSpool

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class OptionalPartials:
    """One thread for each, so that they do not wait for one another either."""

    def __init__(
        self, places: Sequence[Destination], spool: ReceiveSpool, clock: Clock, say: Callable[[str], None]
    ) -> None:
        self._copies = [_Copy(place, spool, clock, say) for place in places]
        self._workers = ThreadPoolExecutor(max(1, len(places)), "partials")

    def offer(self, segment: WalSegment, length: int) -> None:
        """There is this much of a segment."""
        for copy in self._copies:
            copy.wanted = (segment, length)

    def work(self) -> None:
        """Bring it to those that lack it, unless they are at it or have failed just now. Only ever in one thread."""
        for copy in self._copies:
            copy.work(self._workers)

    def close(self) -> None:
        """Bring the last of it, once, and wait for what is on its way."""
        self.work()
        self._workers.shutdown()


class _Copy:
    """One repository."""

    def __init__(self, place: Destination, spool: ReceiveSpool, clock: Clock, say: Callable[[str], None]) -> None:
        self.wanted: tuple[WalSegment, int] | None = None
        self._place = place
        self._spool = spool
        self._say = say
        self._has: tuple[WalSegment, int] | None = None
        self._running: Future[None] | None = None
        self._retry = Retry(clock, _FIRST_PAUSE, _LONGEST_PAUSE)

    def work(self, workers: ThreadPoolExecutor) -> None:
        if self._running is not None and self._running.done():
            error, self._running = self._running.exception(), None
            self._judge(error)
        wanted = self.wanted
        if self._running is None and wanted not in (None, self._has) and self._retry.due():
            self._running = workers.submit(self._bring, wanted)

    def _judge(self, error: BaseException | None) -> None:
        if error is None:
            self._retry.worked()
            return
        self._retry.failed()
        message = f"[{error.code}]: {error.message}" if isinstance(error, LifeboatError) else repr(error)
        self._say(f"the optional repository {self._place.name} lacks what there is of the present segment: {message}")

    def _bring(self, wanted: tuple[WalSegment, int]) -> None:
        """In a worker. What has come since goes along; what it supersedes goes when its segment is there."""
        segment = wanted[0]
        try:
            content = self._spool.beginning(segment)
        except FileNotFoundError:  # finished, and owed as a whole
            self._has = wanted
            return
        self._place.store_partial(segment.name, content)
        partials = self._place.archive().partials
        for earlier in partials.there(segment.timeline):
            if earlier.file_name < segment.name and self._place.archive().find(earlier.file_name) is not None:
                partials.remove_up_to(earlier.file_name)
        self._has = wanted
