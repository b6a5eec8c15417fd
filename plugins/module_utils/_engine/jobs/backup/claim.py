# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One backup's claim on its stanza: its intent, what it goes on from, and the moment it becomes visible.

While its intent is there, nobody removes anything of the backup's generation. Everything that a
backup takes over from others was under somebody's protection when its own intent had been written:
a parent that is visible, a dead attempt whose intent is there. So protection passes on without a
gap. Whoever takes a backup for dead says so first, and a backup of which that was said is none, even if its
manifest has appeared (docs/decisions, "Garbage is collected without locks").
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator

from ...clock import Clock, utc_text
from ...errors import IntegrityError, InterruptedJobError, LifeboatError, PreconditionError
from ...repository import layout, manifest, pack_lists
from ...repository.condemned import Condemned
from ...repository.intents import COMPLETE, DEAD, REFRESH_SECONDS, Holder, Intent, Intents
from ...repository.manifest import AnyHeader, FileEntry, Header
from ...repository.stanza import Stanza
from ...sources.previous import Resumed
from ...specs import METHODS
from ..restore.choose import needed_segments
from .leftovers import Leftovers, resumable
from .policy import Decision


class Claim:
    """Held while a backup runs. Use it as a context manager, and `publish` at the end.

    A backup whose publication failed may be visible or not: it is left for the next one to find out.
    """

    def __init__(
        self,
        stanza: Stanza,
        incarnation: str,
        decision: Decision,
        backup_id: str,
        pack_prefix: str,
        clock: Clock,
        method: str = METHODS[0],
    ) -> None:
        self._stanza = stanza
        self._clock = clock
        self._intents = Intents(stanza)
        over = [intent for intent in self._intents.all() if not intent.is_alive(clock.now())]
        self._dead = [intent for intent in over if intent.verdict != DEAD]  # of the others all has been said
        parent = decision.parent
        parent_id = parent.backup_id if parent else None
        self._resumed = resumable(stanza, self._dead, (incarnation, decision.backup_type, parent_id, method))
        if parent is not None:
            self.generation = parent.generation
        else:
            self.generation = self._resumed[-1].generation if self._resumed else backup_id
        now = utc_text(clock.now())
        self._intent = Intent(
            backup_id=backup_id,
            backup_type=decision.backup_type,
            incarnation=incarnation,
            generation=self.generation,
            parent=parent_id,
            pack_prefix=pack_prefix,
            started=now,
            refreshed=now,
            holder=Holder.here(),
            method=method,
            resumes=tuple(intent.backup_id for intent in self._resumed),
        )
        self._done = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._publishing = self._published = False
        self._parts = 0
        self._lock = threading.Lock()

    def resumed(self) -> Resumed:
        """What earlier attempts have finished reading, as far as its packs are there."""
        return Resumed(self.resumed_files())

    def resumed_files(self) -> Iterator[tuple[str, FileEntry]]:
        """The same, one by one, each with the time its attempt began; a later one of the same path wins."""
        present = self._stanza.packs_there(self.generation) if self._resumed else set()

        def is_there(entry: FileEntry) -> bool:
            needed = entry.needed_packs()
            return needed is not None and needed <= present

        return ((started, entry) for started, entry in self._finished_files() if is_there(entry))

    def _finished_files(self) -> Iterator[tuple[str, FileEntry]]:
        for intent in self._resumed:
            with contextlib.suppress(IntegrityError):  # what a damaged journal cannot tell is read again
                for line in manifest.lines(self._intents.journaled(intent)):
                    entry = manifest.parse_entry(line)
                    if isinstance(entry, FileEntry):
                        yield intent.started, entry

    def journal(self, lines: list[bytes]) -> None:
        """Note files whose packs are durable. Workers share it."""
        with self._lock:
            self._parts += 1
            part = f"{self._parts:06d}"
        self._intents.journal(self._intent, part, lines)

    def publish(
        self, header: AnyHeader, lines: Iterable[bytes], needed: set[str] | None, about_to: Callable[[], None]
    ) -> None:
        """Write the manifest, unless something that it needs has gone (I1, I2).

        `needed` are the packs it names, None when that is not known; `about_to` is told just before it may appear.
        """
        if needed is not None:
            pack_lists.write(self._stanza, header.backup_id, needed)

        def ready() -> None:
            self._require_ready(header, needed)
            # From here on the manifest may be visible, even if the store says that writing it has failed.
            self._publishing = True
            about_to()

        self._stanza.publish(header, lines, ready)
        if self._intents.settle(header.backup_id, COMPLETE) == DEAD:
            self._stanza.unpublish(header.backup_id)
            self._publishing = False
            raise self._taken_for_dead()
        self._published = True

    def _require_ready(self, header: AnyHeader, needed: set[str] | None) -> None:
        if not self._intents.exists(self._intent.backup_id) or self._intents.verdict(self._intent.backup_id):
            raise self._taken_for_dead()
        self._require_parent(f"publishing the backup {self._intent.backup_id}")
        missing = (needed or set()) - self._stanza.packs_there(self.generation)
        if missing:
            raise IntegrityError(
                f"publishing the backup {self._intent.backup_id}",
                f"{len(missing)} packs that it needs are not in the repository, the first is {min(missing)}.",
                "Find out what removes objects there, then make a full backup.",
                code="packs_vanished",
                packs=sorted(missing)[:100],
            )
        if isinstance(header, Header):
            self._require_spared_wal(header)

    def _require_spared_wal(self, header: Header) -> None:
        """WAL is protected by intents from the moment they are there, but what was marked before may go all the same.

        Only a backup from a standby can need any: it begins where the standby's last restart point was.
        """
        segments = {segment.name for segment in needed_segments(header)}
        for mark in Condemned(self._stanza).all():
            for name in mark.objects:
                if name.startswith(f"wal/{header.incarnation}/") and name.rpartition("/")[2][:24] in segments:
                    raise PreconditionError(
                        f"publishing the backup {header.backup_id}",
                        f"the WAL segment {name.rpartition('/')[2][:24]}, where it begins, had been marked for deletion"
                        " before it started, because no backup needed it any more.",
                        "Make the backup again when the standby has caught up and has made its next restart point.",
                        code="wal_condemned",
                    )

    def _require_parent(self, attempted: str) -> None:
        """The backup this one builds on must still be there."""
        parent = self._intent.parent
        if parent is not None and (not self._stanza.exists(parent) or self._intents.is_void(parent)):
            raise IntegrityError(
                attempted,
                f"its parent {parent} was removed meanwhile.",
                "Make the backup again; it will build on another one, or be a full one.",
                code="parent_vanished",
            )

    def _taken_for_dead(self) -> IntegrityError:
        return IntegrityError(
            f"publishing the backup {self._intent.backup_id}",
            "another process took it for dead, because it had given no sign of life for long, and cleaned up after it.",
            "Make the backup again. Find out what stopped this machine, or its connection to the repository.",
            code="backup_taken_for_dead",
        )

    def __enter__(self) -> Claim:
        self._intents.claim(self._intent, self._clock)
        try:
            # Only now is what is taken over protected by an intent of ours: it must still be there.
            self._require_parent(f"starting the backup {self._intent.backup_id}")
            self._resumed = [intent for intent in self._resumed if self._intents.protects(intent.backup_id)]
            leftovers = Leftovers(self._stanza, self._dead)
            for intent in self._dead:
                if intent not in self._resumed:
                    leftovers.discard(intent)
        except BaseException:
            with contextlib.suppress(LifeboatError):
                self._intents.remove(self._intent.backup_id)
            raise
        self._heart.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self._done.set()
        self._heart.join()
        if self._published:
            for intent in self._resumed:
                with contextlib.suppress(LifeboatError):  # the backup is good; others will try again
                    self._intents.remove(intent.backup_id)
        elif self._publishing or resumable_after(kind):
            return  # the next backup finds the intent and goes on
        with contextlib.suppress(LifeboatError):  # whatever ended the backup is what must be told
            if not self._published:
                self._stanza.repository.store.delete(layout.pack_list(self._stanza.name, self._intent.backup_id))
            self._intents.remove(self._intent.backup_id)

    def _beat(self) -> None:
        while not self._done.wait(REFRESH_SECONDS):
            with contextlib.suppress(LifeboatError):  # the backup itself will say what is wrong with the store
                self._intents.refresh(self._intent, self._clock)


def resumable_after(kind: type[BaseException] | None) -> bool:
    """Whether what was written is worth keeping: the backup was stopped, not refused or broken."""
    return kind is not None and (issubclass(kind, InterruptedJobError) or not issubclass(kind, Exception))
