# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores to targets at random, each held against the ledger; and the loop that lets things happen between them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from harness import Cluster
from harness.machine import CommandFailed

from .ledger import POINT, Record, committed
from .ledger_events import WEIGHTS, Backup, Events, Scene, prepared, rows
from .ledger_targets import IMMEDIATE, KINDS, LATEST, NAME, TIME, XID, Target, draw, out_of_order


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


@dataclass
class Trials:
    """On one scene."""

    scene: Scene
    new_place: Callable[[], Cluster]
    place: Cluster | None = None
    tried: Counter[str] = field(default_factory=Counter)
    inverted: int = 0

    def draw(self, kind: str = "") -> tuple[Trial, list[Record] | None]:
        """A trial of this kind, or of any, and what it replays; None where its target is not in the archive."""
        while True:
            trial = self._drawn(kind)
            applied = trial.target.applied(trial.records, (trial.backup or self._usable(trial.number)[-1]).stop)
            if applied is None or not self.scene.ledger.postgres_cannot(trial.number, applied):
                return trial, applied

    def _drawn(self, kind: str) -> Trial:
        scene, chance = self.scene, self.scene.chance
        number = chance.choice(list(scene.ledger.timelines))
        newest = max(scene.ledger.timelines)
        if chance.random() < 0.5:
            number = newest
        records = scene.ledger.records(number, scene.archived())
        first = next(iter(scene.backups.values()))
        drawable = [record for record in records if record.lsn >= first.stop and self._can_be_named(record)]
        self.inverted += len(out_of_order(drawable))
        kind = kind or chance.choices(list(KINDS), list(KINDS.values()))[0]
        if kind == NAME and not any(record.what == POINT for record in drawable):
            kind = XID
        target = draw(chance, drawable, kind)
        backup = self._backup_for(target, number, records) if chance.random() < 0.4 else None
        current = backup is not None and backup.timeline == number and chance.random() < 0.5
        timeline = "current" if current else "latest" if number == newest and chance.random() < 0.7 else str(number)
        options = [*target.options(chance), "--target-timeline", timeline, *(["--backup", backup.id] if backup else [])]
        return Trial(target, number, records, options, backup)

    @staticmethod
    def _can_be_named(record: Record) -> bool:
        return record.what != POINT or record.name.startswith("point ")

    def _backup_for(self, target: Target, number: int, records: Sequence[Record]) -> Backup | None:
        """Any backup that is whole before the target."""
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
        return self.scene.chance.choice(usable) if usable else None

    def _usable(self, number: int) -> list[Backup]:
        ledger = self.scene.ledger
        return [each for each in self.scene.backups.values() if ledger.passes(number, each.timeline, each.stop)]

    def run(self, kind: str = "") -> None:
        """Restore to one target, beside the original, and compare."""
        trial, applied = self.draw(kind)
        self.scene.diary.append(f"restore {trial}")
        if applied is None:
            self._must_be_refused(trial)
            return
        delta = self.place is not None and self.scene.chance.random() < 0.25
        if not delta:
            if self.place is not None:
                self.place.remove()
            self.place = self.new_place()
        assert self.place is not None
        how = [*trial.options, *(["--delta"] if delta else [])]
        pauses = trial.target.kind != LATEST and self.scene.chance.random() < 0.15
        action = ["--target-action", "pause"] if pauses else []
        own = ("--port", str(self.place.port), "--socket-directory", self.place.socket_dir)
        try:
            made = self.scene.lifeboat("restore", "--destination", self.place.data_directory, *own, *how, *action)
        except CommandFailed:
            log = self.place.data_directory / "lifeboat-recovery.log"
            self.scene.diary[-1] += f"\n{log.read_text() if log.exists() else 'it was not started'}"
            raise
        self.judge(self.place, trial, applied, made["backup"]["id"])
        if not pauses:
            expected = committed(applied)[1]
            assert prepared(self.place) == set(expected), (prepared(self.place), expected)
        self.place.kill()
        self.tried[trial.target.kind] += 1

    def judge(self, place: Cluster, trial: Trial, applied: Sequence[Record], begun_with: str) -> None:
        """Exactly the rows that were committed before the record where PostgreSQL stops."""
        if trial.target.kind == IMMEDIATE:
            assert trial.backup is not None or begun_with == self._usable(trial.number)[-1].id
        wanted, found = committed(applied)[0], Counter(rows(place))
        more, fewer = found - wanted, wanted - found
        assert not more and not fewer, f"too many: {dict(more)}, missing: {dict(fewer)}"
        self.scene.diary[-1] += f": {len(wanted)} transactions, from {begun_with}"

    def _must_be_refused(self, trial: Trial) -> None:
        """PostgreSQL would not stop there: this is said before anything is written."""
        place = self.new_place()
        arguments = ("restore", "--destination", place.data_directory, *trial.options)
        code = "restore_point_unknown" if trial.target.kind == NAME else "target_beyond_archive"
        self.scene.site.command_refused(code, *arguments)
        assert not place.data_directory.exists()
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
        self.judge(self.scene.cluster, trial, applied, made["backup"]["id"])
        self.tried["in place"] += 1

    def _prepared_in_last_segment(self, applied: Sequence[Record]) -> bool:
        size = self.scene.ledger.segment_size
        return any(lsn // size == applied[-1].lsn // size for lsn in committed(applied)[1].values())


def keep_the_ledger(trials: Trials, seed: int, restores: int, go_on: Callable[[], bool]) -> None:
    """Everything happens once, in some order, then at random while `go_on`; restores are spread among it."""
    scene = trials.scene
    events, chance = Events(scene), scene.chance
    try:
        agenda = [*WEIGHTS, "promote", "go_back"]
        chance.shuffle(agenda)
        agenda.insert(0, "work")  # so that there is something to go back to
        each = restores // 3
        for part in (agenda[: len(agenda) // 2], agenda[len(agenda) // 2 :]):
            _happen(trials, events, part)
            _restore(trials, each)
        _restore(trials, restores - 2 * each)
        while go_on():
            _happen(trials, events, chance.choices([*WEIGHTS, "go_back"], [*WEIGHTS.values(), 1], k=3))
            _restore(trials, 5)
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


def _restore(trials: Trials, number: int) -> None:
    trials.scene.come_to_rest()
    missing = [kind for kind in KINDS if not trials.tried[kind]]
    for turn in range(number):
        trials.run(missing[turn] if turn < len(missing) else "")
