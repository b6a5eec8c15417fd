# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores to targets at random, each held against the ledger; and the loop that lets things happen between them."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from harness import Cluster
from harness.machine import CommandFailed

from .ledger import POINT, Record, committed
from .ledger_events import WEIGHTS, Backup, Events, Scene, prepared, rows
from .ledger_targets import IMMEDIATE, KINDS, LATEST, LSN, NAME, TIME, XID, Target, draw, out_of_order

PLACES = 2  # for restores at the same time


class LedgerFailed(AssertionError):
    """A restore shows something else than the ledger; the message has the seed and everything that happened."""


@dataclass(frozen=True)
class Trial:
    """A target on the way to a timeline, and perhaps the backup to begin with."""

    target: Target
    number: int
    records: Sequence[Record]
    options: list[str]
    backup: Backup | None

    def __str__(self) -> str:
        return " ".join(self.options)


@dataclass(frozen=True)
class Attempt:
    """A restore that must come to its target."""

    trial: Trial
    applied: Sequence[Record]
    delta: bool  # over what the restore before has left
    pauses: bool
    entry: int  # in the diary

    @property
    def options(self) -> list[str]:
        given = [*self.trial.options, *(["--delta"] if self.delta else [])]
        return [*given, *(["--target-action", "pause"] if self.pauses else [])]


@dataclass
class Trials:
    """On one scene."""

    scene: Scene
    new_place: Callable[[], Cluster]
    places: list[Cluster] = field(default_factory=list)
    tried: Counter[str] = field(default_factory=Counter)
    inverted: int = 0

    # --- drawing

    def draw(self, kind: str = "") -> tuple[Trial, list[Record] | None]:
        """A trial of this kind, or of any, and what it replays; None where its target is not in the archive.

        Where there is nothing of this kind, it is of the latest.
        """
        while True:
            trial = self._drawn(kind)
            applied = trial.target.applied(trial.records, (trial.backup or self._usable(trial.number)[-1]).stop)
            if applied is None:
                return trial, None
            serves = trial.backup or self._serving(trial.target, trial.number, trial.records)
            if serves and not self.scene.ledger.postgres_cannot(trial.number, applied):
                return trial, applied

    def _drawn_of(self, kind: str) -> tuple[Trial, list[Record] | None]:
        """A trial of this kind, if there seems to be any: not every timeline has named points that can be reached."""
        for _time in range(20):
            trial, applied = self.draw(kind)
            if trial.target.kind == kind:
                break
        return trial, applied

    def _drawn(self, kind: str) -> Trial:
        scene, chance = self.scene, self.scene.chance
        reachable = [number for number in scene.ledger.timelines if self._usable(number)]
        number = chance.choice(reachable)
        if chance.random() < 0.5:
            number = reachable[-1]
        first = self._usable(number)[0]
        records = scene.ledger.records(number, scene.archived(), first.start)
        drawable = [record for record in records if record.lsn >= first.stop and self._can_be_named(record)]
        self.inverted += len(out_of_order(drawable))
        kind = kind or chance.choices(list(KINDS), list(KINDS.values()))[0]
        if kind in {TIME, LSN, XID} and not any(record.ends_transaction for record in drawable):
            kind = LATEST
        if kind == NAME and not any(record.what == POINT for record in drawable):
            kind = LATEST
        target = draw(chance, drawable, kind)
        serving = self._serving(target, number, records) if chance.random() < 0.4 else []
        backup = chance.choice(serving) if serving else None
        current = backup is not None and backup.timeline == number and chance.random() < 0.5
        newest = number == max(scene.ledger.timelines)
        timeline = "current" if current else "latest" if newest and chance.random() < 0.7 else str(number)
        options = [*target.options(chance), "--target-timeline", timeline, *(["--backup", backup.id] if backup else [])]
        return Trial(target, number, records, options, backup)

    @staticmethod
    def _can_be_named(record: Record) -> bool:
        return record.what != POINT or record.name.startswith("point ")

    def _serving(self, target: Target, number: int, records: Sequence[Record]) -> list[Backup]:
        """The backups that are whole before the target."""
        usable = self._usable(number)
        if target.kind not in {IMMEDIATE, LATEST}:
            applied = target.applied(records)
            end = applied[-1].end if applied else 0
            usable = [backup for backup in usable if backup.stop < end]
        if target.time is not None:
            usable = [each for each in usable if datetime.fromisoformat(each.recoverable_from) < target.time]
        if target.kind == XID:
            seen = {b.id: max((r.xid for r in records if r.lsn < b.stop), default=0) for b in usable}
            usable = [backup for backup in usable if seen[backup.id] < target.xid]
        return usable

    def _usable(self, number: int) -> list[Backup]:
        ledger = self.scene.ledger
        return [each for each in self.scene.backups.values() if ledger.passes(number, each.timeline, each.stop)]

    # --- restoring

    def restore(self, number: int) -> None:
        """So many restores beside the original, two at a time; targets that have to be refused are not counted."""
        self.scene.come_to_rest()
        while len(self.places) < PLACES:
            self.places.append(self.new_place())
        missing = [kind for kind in KINDS if not self.tried[kind]]
        attempts: list[Attempt] = []
        while len(attempts) < number:
            turn = len(attempts)
            trial, applied = self._drawn_of(missing[turn]) if turn < len(missing) else self.draw()
            self.scene.diary.append(f"restore {trial}")
            if applied is None:
                self._must_be_refused(trial)
                continue
            there = self.places[turn % PLACES].data_directory.exists() or turn >= PLACES
            delta = there and self.scene.chance.random() < 0.6
            pauses = trial.target.kind != LATEST and self.scene.chance.random() < 0.15
            attempts.append(Attempt(trial, applied, delta, pauses, len(self.scene.diary) - 1))
            self.tried[trial.target.kind] += 1
        with ThreadPoolExecutor(PLACES) as both:
            for done in [both.submit(self._run, self.places[each], attempts[each::PLACES]) for each in range(PLACES)]:
                done.result()

    def _run(self, place: Cluster, attempts: Sequence[Attempt]) -> None:
        """One after another, in one place."""
        for attempt in attempts:
            if not attempt.delta:
                shutil.rmtree(place.data_directory, ignore_errors=True)
            own = ("--port", str(place.port), "--socket-directory", place.socket_dir)
            try:
                made = self.scene.lifeboat("restore", "--destination", place.data_directory, *own, *attempt.options)
            except CommandFailed:
                log = place.data_directory / "lifeboat-recovery.log"
                self._note(attempt, f"\n{log.read_text() if log.exists() else 'it was not started'}")
                raise
            self._note(attempt, self.judge(place, attempt.trial, attempt.applied, made["backup"]["id"]))
            if not attempt.pauses:
                expected = committed(attempt.applied)[1]
                assert prepared(place) == set(expected), (str(attempt.trial), prepared(place), expected)
            place.stop("immediate")

    def _note(self, attempt: Attempt, text: str) -> None:
        how = f"{' over the one before' * attempt.delta}{', pausing' * attempt.pauses}"
        self.scene.diary[attempt.entry] += how + text

    def judge(self, place: Cluster, trial: Trial, applied: Sequence[Record], begun_with: str) -> str:
        """Exactly the rows that were committed before the record where PostgreSQL stops; for the diary, what."""
        if trial.target.kind == IMMEDIATE:
            assert trial.backup is not None or begun_with == self._usable(trial.number)[-1].id
        wanted, found = committed(applied)[0], Counter(rows(place))
        more, fewer = found - wanted, wanted - found
        assert not more and not fewer, f"{trial}: too many: {dict(more)}, missing: {dict(fewer)}"
        return f": {len(wanted)} transactions, from {begun_with}"

    def _must_be_refused(self, trial: Trial) -> None:
        """PostgreSQL would not stop there: this is said before anything is written."""
        directory = self.places[0].root / "refused"
        code = "restore_point_unknown" if trial.target.kind == NAME else "target_beyond_archive"
        self.scene.site.command_refused(code, "restore", "--destination", directory, *trial.options)
        assert not directory.exists()
        self.scene.diary[-1] += ": refused"
        self.tried["refused"] += 1

    def go_back(self, events: Events) -> None:
        """The original itself goes back to a target."""
        while True:
            trial, applied = self.draw(self.scene.chance.choice([TIME, XID]))
            if applied is not None and not self._prepared_in_last_segment(applied):
                break
        self.scene.diary.append(f"go back {trial}")
        made = events.go_back(*trial.options)
        self.scene.diary[-1] += self.judge(self.scene.cluster, trial, applied, made["backup"]["id"])
        self.tried["in place"] += 1

    def _prepared_in_last_segment(self, applied: Sequence[Record]) -> bool:
        size = self.scene.ledger.segment_size
        return any(lsn // size == applied[-1].lsn // size for lsn in committed(applied)[1].values())


def keep_the_ledger(trials: Trials, seed: int, restores: int, go_on: Callable[[], bool]) -> None:
    """Everything happens once, in some order, then at random while `go_on`; restores are spread among it.

    Backups expire behind all others, when there are some that can.
    """
    scene = trials.scene
    events, chance = Events(scene), scene.chance
    try:
        agenda = [*(name for name in WEIGHTS if name != "expire"), "promote", "go_back", "incremental"]
        chance.shuffle(agenda)
        agenda.insert(0, "work")  # so that there is something to go back to
        half, each = len(agenda) // 2, restores // 3
        _happen(trials, events, agenda[:half])
        trials.restore(each)
        _happen(trials, events, agenda[half:])
        trials.restore(each)
        _happen(trials, events, ["expire", "work", "point"])
        trials.restore(restores - 2 * each)
        while go_on():
            _happen(trials, events, chance.choices([*WEIGHTS, "go_back"], [*WEIGHTS.values(), 1], k=3))
            trials.restore(5)
    except Exception as error:
        story = "\n".join(scene.diary)
        raise LedgerFailed(f"SEED={seed}\n{story}\n{type(error).__name__}: {error}") from error
    finally:
        sys.stdout.write("\n".join(scene.diary) + f"\n{dict(trials.tried)}\n")


def _happen(trials: Trials, events: Events, names: Sequence[str]) -> None:
    for name in names:
        if name == "go_back":
            trials.scene.come_to_rest()
            trials.go_back(events)
        else:
            events.happen(name)
