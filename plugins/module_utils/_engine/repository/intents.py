# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Intents: what a running backup is about to do, written before it does anything.

An intent names the generation and the prefix of the packs a backup writes, and the backup that it
builds on. Whoever collects garbage spares the whole generation while the intent is there. When its
backup has died, the next one finds the intent, and either goes on where it ended or removes it.

An intent is written once and never again; that its backup still runs is said in an object beside
it, and so is the verdict: that it became one, or that it was taken for dead. Whoever gives the
verdict first, the backup itself or another process, has given it. So a backup that was only paused
learns that it must not be seen, and nobody counts on one that will take itself back.

Intents also keep two backups of one stanza from running at the same time. That is a courtesy, not
what safety rests on: see docs/decisions, "Garbage is collected without locks".
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from ..clock import Clock, parse_utc, utc_text
from ..errors import IntegrityError, PreconditionError
from . import layout
from .records import record
from .stanza import Stanza

# A backup refreshes its intent this often; after that long without, a holder elsewhere counts as dead.
REFRESH_SECONDS = 60.0
_DEAD_AFTER = timedelta(minutes=15)
COMPLETE, DEAD = "complete", "dead"
# Backups that begin at the same moment step back and try again, so often and each after a pause of its own.
_TIES = 8
_LONGEST_PAUSE = 1.0


@dataclass(frozen=True)
class Holder:
    """A process on a host, told apart from a later one with the same number."""

    host: str
    boot: str
    namespace: str
    pid: int
    process_started: str
    machine: str = ""

    @classmethod
    def here(cls) -> Holder:
        """This process."""
        pid = os.getpid()
        return cls(socket.gethostname(), _boot(), _namespace(), pid, _process_started(pid), _machine())

    def is_dead(self) -> bool | None:
        """Whether the process has ended; None when that cannot be seen from here."""
        if self.host != socket.gethostname():
            return None
        if self.boot != _boot():  # restarted since, unless it is another machine that has the same name
            return True if self.machine and self.machine == _machine() else None
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
    resumes: tuple[str, ...] = ()  # dead backups whose packs it takes over
    method: str = "files"  # how it gets at the files: what one brings in another cannot go on from
    verdict: str = ""  # on its backup, as soon as there is one; from an object of its own

    def is_alive(self, now: datetime) -> bool:
        """Whether its backup is still running, as far as can be told; when in doubt it is."""
        if self.verdict == DEAD:
            return False
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
        """Every intent, oldest first. One that is removed meanwhile is left out."""
        names = {info.name for info in self._repository.store.list(layout.intents_folder(self._stanza.name))}
        found = []
        for name in names:
            if name.endswith("/intent"):
                with _unless_gone():
                    found.append(self._read(name, names))
        return sorted(found, key=lambda intent: intent.started)

    def _read(self, name: str, names: set[str]) -> Intent:
        document = self._repository.get_document(name, self._identity(name.split("/")[-2]))
        values = {
            **document,
            "holder": record(Holder, document["holder"]),
            "resumes": tuple(document.get("resumes", ())),
        }
        intent = record(Intent, values)
        alive = layout.intent_alive(self._stanza.name, intent.backup_id)
        if alive in names:
            with _unless_gone():
                seen = self._repository.get_document(alive, f"{self._identity(intent.backup_id)}/alive")
                intent = replace(intent, refreshed=max(intent.refreshed, seen["refreshed"]))
        if layout.intent_verdict(self._stanza.name, intent.backup_id) in names:
            intent = replace(intent, verdict=self.verdict(intent.backup_id))
        return intent

    def write(self, intent: Intent) -> None:
        """Write one, for the first and only time."""
        name = layout.intent(self._stanza.name, intent.backup_id)
        document = {name: value for name, value in asdict(intent).items() if name != "verdict"}
        self._repository.put_document(name, self._identity(intent.backup_id), document)

    def exists(self, backup_id: str) -> bool:
        """Whether there is an intent of this backup."""
        return self._repository.store.size(layout.intent(self._stanza.name, backup_id)) is not None

    def verdict(self, backup_id: str) -> str:
        """The verdict on a backup that has an intent, empty while there is none."""
        name = layout.intent_verdict(self._stanza.name, backup_id)
        with _unless_gone():
            return str(self._repository.get_document(name, f"{self._identity(backup_id)}/verdict")["verdict"])
        return ""

    def protects(self, backup_id: str) -> bool:
        """Whether a backup's intent is there, and nobody has given the backup up."""
        return self.exists(backup_id) and self.verdict(backup_id) != DEAD

    def is_void(self, backup_id: str) -> bool:
        """Whether a backup's manifest, should it be visible, came too late."""
        return self.verdict(backup_id) == DEAD and self.exists(backup_id)

    def settle(self, backup_id: str, verdict: str) -> str:
        """Give a verdict unless there is one; the one that holds."""
        name = layout.intent_verdict(self._stanza.name, backup_id)
        mine = self._repository.put_document(
            name, f"{self._identity(backup_id)}/verdict", {"verdict": verdict}, if_absent=True
        )
        # An intent goes before its verdict: where it is gone, all was settled before we came.
        if not self.exists(backup_id):
            if mine:
                self._repository.store.delete(name)
            return COMPLETE
        return self.verdict(backup_id) or COMPLETE

    def refresh(self, intent: Intent, clock: Clock) -> None:
        """Say that its backup still runs."""
        name = layout.intent_alive(self._stanza.name, intent.backup_id)
        document = {"refreshed": utc_text(clock.now())}
        self._repository.put_document(name, f"{self._identity(intent.backup_id)}/alive", document)

    def remove(self, backup_id: str) -> None:
        """Forget one whose backup is over, and all that lies beside it, itself first."""
        store = self._repository.store
        store.delete(layout.intent(self._stanza.name, backup_id), durably=True)
        for info in list(store.list(layout.intent_folder(self._stanza.name, backup_id))):
            store.delete(info.name)

    def give_up(self, intent: Intent) -> bool:
        """Take a backup for dead that is not visible. False when it has become one meanwhile.

        One whose process is known to have ended is forgotten. Any other may wake up, at any moment and however late:
        its intent stays, with the verdict.
        """
        store = self._repository.store
        if intent.holder.is_dead():
            self.remove(intent.backup_id)
            return True
        if self.settle(intent.backup_id, DEAD) != DEAD:
            return False
        folder = layout.intent_folder(self._stanza.name, intent.backup_id)
        kept = (layout.intent(self._stanza.name, intent.backup_id), f"{folder}verdict")
        for info in list(store.list(folder)):
            if info.name not in kept:
                store.delete(info.name)
        return True

    def claim(self, intent: Intent, clock: Clock) -> None:
        """Write it, unless another backup runs.

        Of several that begin at once none sees itself alone: each steps back and tries again after a pause of its
        own, until one was alone.
        """
        for attempt in range(1, _TIES + 1):
            self._refuse_if_running(clock)
            self.write(intent)
            try:
                self._refuse_if_running(clock, besides=intent)
                return
            except PreconditionError:
                self.remove(intent.backup_id)
                if attempt == _TIES:
                    raise
            clock.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.1 * 2**attempt)))

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
        """The journal's pieces, in no particular order of files. What somebody removes meanwhile is left out."""
        folder = f"{layout.intent_folder(self._stanza.name, intent.backup_id)}journal/"
        for info in self._repository.store.list(folder):
            part = info.name[len(folder) :]
            identity = f"{self._identity(intent.backup_id)}/{part}"
            pieces: list[bytes] = []
            with _unless_gone():
                pieces = list(self._repository.read_stream(info.name, "metadata", identity))
            yield from pieces

    def _identity(self, backup_id: str) -> str:
        return layout.identity("stanza", self._stanza.name, "intent", backup_id)


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    """Whoever removes an intent may be faster than who reads what a list named."""
    try:
        yield
    except IntegrityError as error:
        if error.code != "object_missing":
            raise


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _machine() -> str:
    """The machine's own id, which it keeps when it is restarted; empty where there is none, as in most containers."""
    try:
        return Path("/etc/machine-id").read_text().strip()
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
