# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Intents: what a running backup is about to do, written before it does anything.

An intent names the generation and the prefix of the packs a backup writes, and the backup that it
builds on. Whoever collects garbage spares all of that. When its backup has died, the next one
finds the intent, and either goes on where it ended or removes what it left.

Intents also keep two backups of one stanza from running at the same time. That is a courtesy, not
what safety rests on: packs have random names, manifests appear last, and a backup looks for its
parent once more before it publishes.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from ..clock import Clock, parse_utc, utc_text
from ..errors import PreconditionError
from . import layout
from .records import record
from .stanza import Stanza

# A backup refreshes its intent this often; after that long without, a holder elsewhere counts as dead.
REFRESH_SECONDS = 60.0
_DEAD_AFTER = timedelta(minutes=15)


@dataclass(frozen=True)
class Holder:
    """A process on a host, told apart from a later one with the same number."""

    host: str
    boot: str
    namespace: str
    pid: int
    process_started: str

    @classmethod
    def here(cls) -> Holder:
        """This process."""
        pid = os.getpid()
        return cls(socket.gethostname(), _boot(), _namespace(), pid, _process_started(pid))

    def is_dead(self) -> bool | None:
        """Whether the process has ended; None when that cannot be seen from here."""
        if self.host != socket.gethostname():
            return None
        if self.boot != _boot():
            return True
        if self.namespace != _namespace():
            return None
        return _process_started(self.pid) != self.process_started


@dataclass(frozen=True)
class Intent:
    """What a backup will write."""

    backup_id: str
    backup_type: str
    incarnation: str
    generation: str
    parent: str | None
    pack_prefix: str
    started: str
    refreshed: str
    holder: Holder

    def is_alive(self, now: datetime) -> bool:
        """Whether its backup is still running, as far as can be told; when in doubt it is."""
        dead = self.holder.is_dead()
        if dead is None:
            return now - parse_utc(self.refreshed) < _DEAD_AFTER
        return not dead


class Intents:
    """The intents of one stanza."""

    def __init__(self, stanza: Stanza) -> None:
        self._stanza = stanza
        self._repository = stanza.repository

    def all(self) -> list[Intent]:
        """Every intent, oldest first."""
        found = []
        for info in self._repository.store.list(layout.intents_folder(self._stanza.name)):
            if not info.name.endswith("/intent"):
                continue
            document = self._repository.get_document(info.name, self._identity(info.name.split("/")[-2]))
            found.append(record(Intent, {**document, "holder": record(Holder, document["holder"])}))
        return sorted(found, key=lambda intent: intent.started)

    def write(self, intent: Intent) -> None:
        """Write or refresh one."""
        name = layout.intent(self._stanza.name, intent.backup_id)
        self._repository.put_document(name, self._identity(intent.backup_id), asdict(intent))

    def refresh(self, intent: Intent, clock: Clock) -> None:
        """Say that its backup still runs."""
        self.write(replace(intent, refreshed=utc_text(clock.now())))

    def remove(self, intent: Intent) -> None:
        """Forget it and its journal."""
        folder = layout.intent_folder(self._stanza.name, intent.backup_id)
        for info in list(self._repository.store.list(f"{folder}journal/")):
            self._repository.store.delete(info.name)
        self._repository.store.delete(layout.intent(self._stanza.name, intent.backup_id))

    def claim(self, intent: Intent, clock: Clock) -> None:
        """Write it, unless another backup runs. Of two that begin at once, none sees itself alone: both step back."""
        self._refuse_if_running(clock)
        self.write(intent)
        try:
            self._refuse_if_running(clock, besides=intent)
        except PreconditionError:
            self.remove(intent)
            raise

    def _refuse_if_running(self, clock: Clock, besides: Intent | None = None) -> None:
        for other in self.all():
            if besides is not None and other.backup_id == besides.backup_id:
                continue
            if other.is_alive(clock.now()):
                raise PreconditionError(
                    f"starting a backup of {self._stanza.name}",
                    f"the backup {other.backup_id} is running on {other.holder.host} (process {other.holder.pid},"
                    f" since {other.started}).",
                    "Wait for its end, or stop that process.",
                    code="backup_running",
                    holder=asdict(other.holder),
                )

    def journal(self, intent: Intent, part: str, lines: list[bytes]) -> None:
        """Note files whose packs are durable, so that a later backup need not read them again."""
        name = f"{layout.intent_folder(self._stanza.name, intent.backup_id)}journal/{part}"
        identity = f"{self._identity(intent.backup_id)}/{part}"
        with self._repository.store.writer(name) as writer:
            stream = self._repository.stream_writer(writer, "metadata", identity)
            for line in lines:
                stream.write(line)
            stream.finish()
            writer.commit()

    def journaled(self, intent: Intent) -> Iterator[bytes]:
        """The journal's pieces, in no particular order of files."""
        folder = f"{layout.intent_folder(self._stanza.name, intent.backup_id)}journal/"
        for info in self._repository.store.list(folder):
            part = info.name[len(folder) :]
            yield from self._repository.read_stream(info.name, "metadata", f"{self._identity(intent.backup_id)}/{part}")

    def _identity(self, backup_id: str) -> str:
        return layout.identity("stanza", self._stanza.name, "intent", backup_id)


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _namespace() -> str:
    """Process numbers mean nothing outside their namespace: a container's are its own."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _process_started(pid: int) -> str:
    """When a process started, in the kernel's ticks since boot; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
