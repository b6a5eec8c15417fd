# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the receiver's spool into the repositories: what is finished, and every few seconds what is not yet.

The same objects, names and checks as for `archive_command`, so whichever way brings a file first, the
other finds it there. Histories go first: they claim their timelines. A segment leaves the spool when
every required repository has it; the newest stays, as a mark of how far receiving has come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ...clock import Clock, utc_text
from ...errors import LifeboatError
from ...postgres import wal_page
from ...postgres.wal_names import WalSegment
from ...specs import ArchiveSpec, WalCopy
from ..wal import claim
from ..wal.archive import Destination, read_wal_file
from ..wal.debts import Debts
from ..wal.dropping import Dropping
from .optional import OptionalPartials
from .spool import ReceiveSpool, SpoolOwner

_MEMORY_BYTES = 128 << 20


@dataclass
class Shipped:
    """How far it has come."""

    segment: str | None = None  # the newest one in every required repository
    partial: str | None = None
    partial_bytes: int = 0
    partial_time: str | None = None


class Uploader:
    """Brings what is in a spool away, a round at a time."""

    def __init__(
        self,
        archive: ArchiveSpec,
        spool: ReceiveSpool,
        owner: SpoolOwner,
        jobs: int,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        self._spool = spool
        self._owner = owner
        self._clock = clock
        facts = claim.Facts(owner.system_identifier, owner.major_version, owner.wal_segment_bytes, 0)
        self._size = owner.wal_segment_bytes

        def places(copies: Sequence[WalCopy]) -> list[Destination]:
            return [Destination(copy, owner.stanza, lambda: facts, owner.incarnation, clock) for copy in copies]

        self.required = places(archive.required)
        debts = spool.debts(owner)
        optional = places(archive.optional)
        self._debts = Debts(optional, self.required[0], debts, clock, say)
        self._optional = OptionalPartials(places(archive.optional), spool, clock, say)
        self._dropping = Dropping(archive.drop_after, self.required, debts, self._size, clock, say)
        self._jobs = max(1, min(jobs, _MEMORY_BYTES // self._size))
        self._workers = ThreadPoolExecutor(max(1, len(optional)), "debts")
        self._done: set[str] = set()
        self._superseded: str | None = None  # up to where partials have been removed
        self.shipped = Shipped()

    def close(self) -> None:
        """Wait for what is on its way."""
        self._workers.shutdown()
        self._optional.close()

    def pending(self) -> list[WalSegment]:
        """Finished segments that not every required repository has yet, as far as is known here."""
        return [each for each in self._spool.finished(self._size) if each.name not in self._done]

    def pay_debts(self) -> None:
        """What optional repositories lack goes to them beside everything else."""
        self._debts.work(self._workers, lambda: None)
        self._optional.work()

    def round(self, *, partial: bool) -> None:
        """Bring away all that is finished, then, if it is time, what there is of the present segment."""
        for name in self._spool.histories():
            if name not in self._done:
                self._store(name)
        pending = self.pending()
        for name in self._dropping.give_up([each.name for each in pending]):
            self._done.add(name)
        with ThreadPoolExecutor(self._jobs, "store") as workers:
            results = [workers.submit(self._store, each.name) for each in pending if each.name not in self._done]
        failure = next((error for result in results if (error := result.exception()) is not None), None)
        self._tidy()
        if failure is not None:
            raise failure
        if partial:
            self._ship()

    def _store(self, name: str) -> None:
        """One file into every required repository."""
        self._dropping.store(name, read_wal_file(Path(self._spool.wal, name)))
        self._debts.owe(name)
        self._done.add(name)

    def _tidy(self) -> None:
        """Out of the spool with what is durable, but for the newest; and away with partials that it supersedes."""
        finished = self._spool.finished(self._size)
        durable = [each for each in finished if each.name in self._done]
        if not durable:
            return
        newest = durable[-1].name
        if newest != self._superseded:
            for place in self.required:
                place.archive().partials.remove_up_to(newest)
            self._superseded = newest
            self.shipped.segment = newest
            if self.shipped.partial is not None and self.shipped.partial <= newest:
                self.shipped.partial, self.shipped.partial_bytes = None, 0
        for segment in durable:
            if segment != finished[-1]:
                self._spool.remove(segment)
                self._done.discard(segment.name)

    def _ship(self) -> None:
        """What there is of the present segment, if there is more than last time."""
        partials = self._spool.partials(self._size)
        if not partials or self.pending():  # a segment was finished meanwhile: the next round has it
            return
        segment = partials[-1]
        try:
            content = self._spool.beginning(segment)
        except FileNotFoundError:  # it was finished just now
            return
        if len(content) < wal_page.HEADER_BYTES:
            return
        if (segment.name, len(content)) == (self.shipped.partial, self.shipped.partial_bytes):
            return
        owner = self._owner
        head = content[: wal_page.HEADER_BYTES]
        wal_page.check_segment(head, segment.name, owner.system_identifier, owner.major_version, self._size)
        self._optional.offer(segment, len(content))
        failure: LifeboatError | None = None
        for place in self.required:
            try:
                place.store_partial(segment.name, content)
            except LifeboatError as exc:
                failure = failure or exc
        if failure is not None:
            raise failure
        self.shipped.partial, self.shipped.partial_bytes = segment.name, len(content)
        self.shipped.partial_time = utc_text(self._clock.now())
