# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Giving WAL up by an explicit policy, so that the server's disk does not run full; off unless asked for.

What is given up is noted here first, durably, and in the repository as soon as that can be written
again, so that everybody who looks at the archive is told of the gap and of its reason.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from ... import durable
from ...background import make_folders
from ...clock import Clock, utc_text
from ...errors import LifeboatError
from ...specs import DropPolicy
from ...wal_spool import WalSpool
from .archive import Destination


class Dropping:
    """The policy of one cluster."""

    def __init__(
        self,
        policy: DropPolicy | None,
        required: Sequence[Destination],
        spool: WalSpool,
        segment_bytes: int,
        clock: Clock,
        say: Callable[[str], None],
    ) -> None:
        self._policy = policy
        self._spool = spool
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._say = say
        self._lock = threading.Lock()
        self._failing: dict[str, LifeboatError] = {}
        self._required = required
        self._places = {place.name: place for place in required}
        self._noted = {name for name in self._places if self._notes(name)}

    def store(self, name: str, content: bytes | memoryview) -> None:
        """One file into every required repository; raises when one of them did not take it."""
        failure: LifeboatError | None = None
        for place in self._required:
            try:
                place.store(name, content)
            except LifeboatError as exc:  # the others get it all the same
                failure = failure or exc
                self._failed(place, exc)
            else:
                self._worked(place)
        if failure is not None:
            raise failure

    def _failed(self, place: Destination, error: LifeboatError) -> None:
        with self._lock:
            self._failing[place.name] = error

    def _worked(self, place: Destination) -> None:
        """A repository took one: what it lost meanwhile can be written there."""
        with self._lock:
            self._failing.pop(place.name, None)
            if place.name in self._noted:
                self._tell(place)
                self._noted.discard(place.name)

    def give_up(self, waiting: Sequence[str]) -> list[str]:
        """The files that are not going to be archived, the oldest of those waiting; each is noted."""
        if self._policy is None:
            return []
        with self._lock:
            failing = dict(self._failing)
            dropped = list(waiting[: self._policy.excess(len(waiting), self._segment_bytes)]) if failing else []
            for name in failing if dropped else ():
                make_folders(self._spool.dropped(name))
                for file_name in dropped:
                    note = f"{utc_text(self._clock.now())} {failing[name].code}"
                    durable.write_file(Path(self._spool.dropped(name), file_name), note.encode(), 0o600)
                self._noted.add(name)
        if dropped:
            self._say(
                f"more than wal_drop_after = {self._policy.text} was waiting: {len(dropped)} files from {dropped[0]} to"
                f" {dropped[-1]} are given up, a gap in the archive. Make a backup as soon as it works again."
            )
        return dropped

    def _notes(self, name: str) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(each for each in os.listdir(self._spool.dropped(name)) if not each.startswith("."))
        return []

    def _tell(self, place: Destination) -> None:
        """One document for all of them, then the notes go."""
        folder, names = Path(self._spool.dropped(place.name)), self._notes(place.name)
        if not names:
            return
        notes = [(folder / name).read_text().split() for name in names]
        times = [note[0] for note in notes]
        place.archive().record_gap(
            names, min(times), max(times), notes[-1][1], self._policy.text if self._policy else ""
        )
        for name in names:
            (folder / name).unlink()
