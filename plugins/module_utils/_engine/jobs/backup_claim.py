# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One backup's claim on its stanza: its intent, and what earlier backups that died have left."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from ..clock import Clock, utc_text
from ..errors import IntegrityError, InterruptedJobError, LifeboatError
from ..repository import layout, manifest
from ..repository.intents import REFRESH_SECONDS, Holder, Intent, Intents
from ..repository.manifest import FileEntry
from ..repository.stanza import Incarnation, Stanza
from ..sources.previous import Resumed
from .backup_policy import Decision


class Claim:
    """Held while a backup runs. Use it as a context manager; say `published` when there is a manifest.

    A backup whose publication failed may be visible or not: it is left for the next one to find out.
    """

    def __init__(
        self, stanza: Stanza, life: Incarnation, decision: Decision, backup_id: str, pack_prefix: str, clock: Clock
    ) -> None:
        self._stanza = stanza
        self._clock = clock
        self._intents = Intents(stanza)
        self._dead = [intent for intent in self._intents.all() if not intent.is_alive(clock.now())]
        self._resumed = self._resumable(life, decision)
        parent = decision.parent
        if parent is not None:
            self.generation = parent.generation
        else:
            self.generation = self._resumed[-1].generation if self._resumed else backup_id
        now = utc_text(clock.now())
        self._intent = Intent(
            backup_id=backup_id,
            backup_type=decision.backup_type,
            incarnation=life.incarnation,
            generation=self.generation,
            parent=parent.backup_id if parent else None,
            pack_prefix=pack_prefix,
            started=now,
            refreshed=now,
            holder=Holder.here(),
        )
        self._done = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)
        self._publishing = self._published = False
        self._parts = 0
        self._lock = threading.Lock()

    def _resumable(self, life: Incarnation, decision: Decision) -> list[Intent]:
        """Dead backups of the very kind that is to be made now, all of the newest one's generation."""
        parent = decision.parent.backup_id if decision.parent else None
        same = [
            intent
            for intent in self._dead
            if (intent.incarnation, intent.backup_type, intent.parent)
            == (life.incarnation, decision.backup_type, parent)
            and not self._stanza.exists(intent.backup_id)
        ]
        return [intent for intent in same if intent.generation == same[-1].generation]

    def resumed(self) -> Resumed:
        """What earlier attempts have finished reading."""
        return Resumed(self._finished_files())

    def _finished_files(self) -> Iterator[tuple[str, FileEntry]]:
        for intent in self._resumed:
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

    def require_parent(self) -> None:
        """The backup this one builds on must still be there when it is published (I2)."""
        parent = self._intent.parent
        if parent is not None and not self._stanza.exists(parent):
            raise IntegrityError(
                f"publishing the backup {self._intent.backup_id}",
                f"its parent {parent} was removed meanwhile.",
                "Make the backup again; it will be a full one.",
                code="parent_vanished",
            )

    def publishing(self) -> None:
        """The manifest is about to be written: packs that it names must not be removed any more."""
        self._publishing = True

    def published(self) -> None:
        """The manifest is there: what was intended has happened."""
        self._published = True

    def __enter__(self) -> Claim:
        self._intents.claim(self._intent, self._clock)
        for intent in self._dead:
            if intent not in self._resumed:
                self._discard(intent)
        self._heart.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self._done.set()
        self._heart.join()
        if self._published:
            for intent in self._resumed:
                self._intents.remove(intent)
        elif self._publishing or resumable_after(kind):
            return  # the next backup finds the intent and goes on
        with contextlib.suppress(LifeboatError):  # whatever ended the backup is what must be told
            self._intents.remove(self._intent)

    def _discard(self, intent: Intent) -> None:
        """Remove what a dead backup has written and nothing names."""
        if not self._stanza.exists(intent.backup_id):
            folder = layout.packs_folder(self._stanza.name, intent.generation)
            for info in list(self._stanza.repository.store.list(folder + intent.pack_prefix)):
                self._stanza.repository.store.delete(info.name)
        self._intents.remove(intent)

    def _beat(self) -> None:
        while not self._done.wait(REFRESH_SECONDS):
            with contextlib.suppress(LifeboatError):  # the backup itself will say what is wrong with the store
                self._intents.refresh(self._intent, self._clock)


def resumable_after(kind: type[BaseException] | None) -> bool:
    """Whether what was written is worth keeping: the backup was stopped, not refused or broken."""
    return kind is not None and (issubclass(kind, InterruptedJobError) or not issubclass(kind, Exception))
