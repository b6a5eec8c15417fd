# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup and expiry, each stopped wherever it hurts while the other goes on (I1, I2).

Both work on the real store, each in threads of its own that stop before every call of it until they are let on. So any
interleaving can be made, and made again. Whatever the interleaving: what is visible in the end is whole, a backup that
reported success is there, one that failed is not, and expiry later leaves exactly what is needed.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import (
    InterruptedJobError,
    LifeboatError,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.backup import making as backup_making
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.retention.expire import Expiry
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import pack_lists
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.intents import Holder, Intents
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import Header
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.repository import (
    Repository,
    create,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Incarnation, Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.retention_policy import parse
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.base import ObjectInfo
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.local import LocalStore, LocalWriter
from fakes import Collector
from made import KEY, SEGMENT_BYTES, data_directory
from made_cluster import IDENTIFIER, Cluster

DAY = 86400
# What a backup may say that lost its race; anything else would be a defect.
HONEST = {"backup_taken_for_dead", "parent_vanished", "packs_vanished", "object_missing", "backup_unknown"}
STOPPED = InterruptedJobError("running the job", "it was told to stop.", "Start it again.", code="interrupted")


class Gate:
    """Lets an actor's calls of the store pass up to a number; the next one waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._allowed = math.inf
        self._waiting = 0
        self.passed = 0

    def step(self) -> None:
        with self._changed:
            while self.passed >= self._allowed:
                self._waiting += 1
                self._changed.notify_all()
                self._changed.wait()
                self._waiting -= 1
            self.passed += 1

    def allow(self, steps: float) -> None:
        with self._changed:
            self._allowed = steps
            self._changed.notify_all()

    def wait_until_stopped(self, thread: threading.Thread) -> None:
        """Until somebody waits at the gate, or the actor has come to its end."""
        with self._changed:
            while thread.is_alive() and not (self._waiting and self.passed >= self._allowed):
                self._changed.wait(0.01)


class GatedStore(LocalStore):
    """The real store behind a gate."""

    def __init__(self, root: Path, gate: Gate) -> None:
        super().__init__(root)
        self._gate = gate

    def writer(self, name: str) -> LocalWriter:
        self._gate.step()
        writer = super().writer(name)
        commit = writer.commit

        def gated() -> None:
            self._gate.step()
            commit()

        writer.commit = gated  # type: ignore[method-assign]
        return writer

    def size(self, name: str) -> int | None:
        self._gate.step()
        return super().size(name)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._gate.step()
        yield from LocalStore(self.root).list(prefix)

    def delete(self, name: str, *, durably: bool = False) -> None:
        self._gate.step()
        super().delete(name, durably=durably)


class Actor:
    """Something that is done in threads, up to a step and then further."""

    def __init__(self, act: Callable[[], None], gate: Gate) -> None:
        self.gate = gate
        self.error: BaseException | None = None

        def run() -> None:
            try:
                act()
            except BaseException as error:
                self.error = error

        self._thread = threading.Thread(target=run, daemon=True)

    def go(self, steps: float = math.inf) -> None:
        """Begin or go on, until so many steps are done or the end is reached."""
        self.gate.allow(steps)
        if self._thread.ident is None:
            self._thread.start()
        self.gate.wait_until_stopped(self._thread)
        if steps == math.inf:
            self._thread.join()


class World:
    """A repository with some history, of which every trial gets a copy."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder, self.clock = folder, clock
        self._trials = itertools.count()
        self._repository = create(LocalStore(folder / "origin"), KEY, clock)
        stanza = Stanza(self._repository, "main")
        self.life: Incarnation = stanza.register(IDENTIFIER, 15, SEGMENT_BYTES, clock)
        self.data = data_directory(folder / "data")
        relation = self.data / "base/1/16384"
        relation.write_bytes(b"".join(bytes([page]) * 8192 for page in range(40)))
        self.origin = Cluster(stanza, self.life, self.data, clock)
        for page in (3, 7):
            self.origin.back_up("auto", jobs=1)
            with relation.open("r+b") as stream:
                stream.seek(page * 8192)
                stream.write(b"new" * 100)

    def stanza(self, store: LocalStore) -> Stanza:
        """The stanza as an actor with this store sees it."""
        return Stanza(Repository(store, self._repository.repository_id, self._repository.epochs), "main")

    def trial(self) -> Path:
        copy = self.folder / f"trial{next(self._trials)}"
        shutil.copytree(self.folder / "origin", copy)
        return copy


class Trial:
    """One backup and one expiry on a copy of the world."""

    def __init__(self, world: World, backup_type: str, expiry: Callable[[Stanza, Clock], None]) -> None:
        self._world, self.root = world, world.trial()
        self.made: list[Header] = []
        self.backup = Actor(lambda: self._back_up(backup_type), Gate())
        self.expiry = Actor(lambda: expiry(self._seen_by(self.expiry), world.clock), Gate())

    def _seen_by(self, actor: Actor) -> Stanza:
        return self._world.stanza(GatedStore(self.root, actor.gate))

    def _back_up(self, backup_type: str) -> None:
        world = self._world
        cluster = Cluster(self._seen_by(self.backup), world.life, world.data, world.clock)
        self.made.append(cluster.back_up(backup_type, jobs=1, journal_every=1))

    def check(self) -> None:
        """See the top of this file."""
        if self.expiry.error is not None:
            raise self.expiry.error
        error = self.backup.error
        if error is not None and not (isinstance(error, LifeboatError) and error.code in HONEST):
            raise error
        stanza = self._world.stanza(LocalStore(self.root))
        visible = stanza.backup_ids()
        assert visible, "the last good one is never deleted"
        assert len(self.made) == (error is None)
        for header in self.made:
            assert header.backup_id in visible
        assert len(visible) <= 2 + len(self.made)
        self.require_whole(stanza)
        policy = parse({"keep_last": "1", "grace_hours": "0"})
        self._world.clock.sleep(9 * DAY)
        Expiry(stanza, policy, self._world.clock, Collector()).run(check_mode=False)
        assert self.require_whole(stanza) == {path.name for path in self.root.glob("stanzas/*/generations/*/packs/*")}
        shutil.rmtree(self.root)

    def require_whole(self, stanza: Stanza) -> set[str]:
        """Everything visible can be read to its last block map; the packs that takes."""
        needed = set()
        for header in stanza.headers():
            packs = pack_lists.named_by_manifest(stanza, header)
            assert packs <= stanza.packs_there(header.generation), header.backup_id
            needed |= packs
        return needed


def at_once(stanza: Stanza, clock: Clock) -> None:
    """The harshest policy, without a grace period."""
    Expiry(stanza, parse({"keep_last": "1", "grace_hours": "0"}), clock, Collector()).run(check_mode=False)


def after_days(stanza: Stanza, clock: Clock) -> None:
    """The same in the usual three runs, with days between them: whoever is silent meanwhile is taken for dead."""
    for _ignored in range(3):
        Expiry(stanza, parse({"keep_last": "1"}), clock, Collector()).run(check_mode=False)
        clock.sleep(4 * DAY)


def late_and_at_once(stanza: Stanza, clock: Clock) -> None:
    """Whoever is silent has been so for days."""
    clock.sleep(4 * DAY)
    at_once(stanza, clock)


def dead_attempt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full backup that has died, and from which the next one goes on."""

    def stop(*_ignored: object, **__: object) -> None:
        raise STOPPED

    here = Holder.here()
    with monkeypatch.context() as patch, pytest.raises(InterruptedJobError):
        patch.setattr(backup_making, "wait_for_segments", stop)
        patch.setattr(Holder, "here", classmethod(lambda _cls: replace(here, process_started="dead")))
        world.origin.back_up("full", jobs=1, journal_every=1)
    (attempt,) = Intents(world.origin.stanza).all()
    assert attempt.holder.process_started == "dead"


SITUATIONS = [
    # the backup, whether its process can be seen to be alive, and what expiry does meanwhile
    ("full", False, at_once),
    ("incremental", False, at_once),
    ("incremental", None, late_and_at_once),
    ("incremental", None, after_days),
    ("resumed", False, after_days),
    ("resumed", None, late_and_at_once),
]


@pytest.mark.parametrize(
    ("kind", "dead", "expiry"), SITUATIONS, ids=[f"{kind}-{dead}-{act.__name__}" for kind, dead, act in SITUATIONS]
)
def test_whatever_stops_whenever(
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    dead: bool | None,
    expiry: Callable[[Stanza, Clock], None],
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _handle: None)  # nobody pulls the plug here
    world = World(tmp_path, clock)
    backup_type = "full" if kind == "resumed" else kind
    if kind == "resumed":
        dead_attempt(world, monkeypatch)
    monkeypatch.setattr(Holder, "is_dead", lambda holder: holder.process_started == "dead" or dead)

    alone = Trial(world, backup_type, expiry)
    alone.backup.go()
    alone.expiry.go()
    alone.check()
    assert alone.made
    lengths = alone.backup.gate.passed, alone.expiry.gate.passed
    assert min(lengths) > 20

    choose = random.Random(11)
    # everywhere around publication, and here and there before
    pauses: list[tuple[float, float]] = [(step, math.inf) for step in range(lengths[0] - 20, lengths[0])]
    pauses += [(step, math.inf) for step in range(0, lengths[0] - 20, 4)]
    pauses += [(0, step) for step in range(0, lengths[1], 5)]
    pauses += [(choose.randrange(lengths[0]), choose.randrange(lengths[1])) for _ignored in range(20)]
    outcomes = set()
    for backup_steps, expiry_steps in pauses:
        trial = Trial(world, backup_type, expiry)
        trial.backup.go(backup_steps)
        trial.expiry.go(expiry_steps)
        trial.backup.go()
        trial.expiry.go()
        try:
            trial.check()
        except BaseException as error:
            raise AssertionError(f"the backup stopped at {backup_steps}, expiry at {expiry_steps}") from error
        outcomes.add(trial.backup.error.code if isinstance(trial.backup.error, LifeboatError) else "made")
    assert "made" in outcomes
    if dead is None:
        assert "backup_taken_for_dead" in outcomes
