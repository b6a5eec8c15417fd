# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a retention policy, and collect garbage; without a policy only the latter.

A backup that expires loses its manifest, and thereby is none. What it alone needed is then garbage
like everything that dead backups have left: it is marked now, and deleted in a later run, when the
grace period is over and still nobody needs it. Whatever happens in between, and whenever this is
killed, there is never a backup to be seen of which something is missing, and the next run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from ...clock import Clock
from ...errors import LifeboatError
from ...ports import ProgressSink
from ...report.events import PhaseStarted, Warned
from ...repository import layout
from ...repository.access import stanza_of
from ...repository.condemned import Condemned, Mark
from ...repository.intents import COMPLETE, DEAD, Intents
from ...repository.stanza import Stanza
from ...retention_policy import Policy
from ...sources import workers
from ...specs import RepositorySpec
from ...store.base import Unfinished
from . import plan as retention
from .elsewhere import Backups, Elsewhere
from .plan import Verdict
from .survey import Survey, Surveyor
from .wal import unneeded_wal

_DELETERS = 8
# What was last written to so long ago is not being written any more, however short the grace period.
_STILL_BEING_WRITTEN = timedelta(hours=1)


@dataclass(frozen=True)
class Amount:
    """How many objects, and how large."""

    objects: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class WalRange:
    """Archived WAL of a timeline that nobody needs any more, from its first file to its last."""

    incarnation: str
    timeline: int
    first: str
    last: str
    files: int


@dataclass(frozen=True)
class ExpireResult:
    """What was done or, in check mode, would be."""

    verdicts: list[Verdict] = field(default_factory=list)
    wal: list[WalRange] = field(default_factory=list)  # condemned by this run
    condemned: Amount = Amount()  # by this run
    waiting: Amount = Amount()  # condemned, by this run or before, and not deleted yet
    deleted: Amount = Amount()
    forgotten: dict[str, str] = field(default_factory=dict)  # dead backups, and why they are given up
    withdrawn: list[str] = field(default_factory=list)  # backups that became visible after they had been given up
    unfinished: int = 0  # writes that were never finished

    @property
    def expired(self) -> list[Verdict]:
        """The backups that go."""
        return [verdict for verdict in self.verdicts if not verdict.keep]

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        did = self.condemned.objects or self.deleted.objects or self.unfinished
        return bool(self.expired or self.forgotten or self.withdrawn or did)


@dataclass(frozen=True)
class ExpireRequest:
    """What the user wants."""

    repository: RepositorySpec
    stanza: str
    policy: Policy = Policy()
    others: tuple[RepositorySpec, ...] = ()  # the cluster's other repositories


def run(request: ExpireRequest, clock: Clock, sink: ProgressSink, *, check_mode: bool = False) -> ExpireResult:
    """Expire what the policy does not keep, mark what nobody needs, delete what was marked long enough ago."""
    stanza = stanza_of(request.repository, request.stanza)
    stanza.require_registered()
    elsewhere = Elsewhere(request.others, request.stanza, sink)
    return Expiry(stanza, request.policy, clock, sink, elsewhere.look).run(check_mode=check_mode)


class Expiry:
    """One run."""

    def __init__(
        self,
        stanza: Stanza,
        policy: Policy,
        clock: Clock,
        sink: ProgressSink,
        elsewhere: Callable[[], Backups | None] = lambda: None,
    ) -> None:
        self._stanza = stanza
        self._elsewhere = elsewhere
        self._store = stanza.repository.store
        self._root = layout.stanza_folder(stanza.name)
        self._policy = policy
        self._clock = clock
        self._sink = sink
        self._surveyor = Surveyor(stanza, clock)
        self._condemned = Condemned(stanza)
        self._intents = Intents(stanza)

    def run(self, *, check_mode: bool) -> ExpireResult:
        """See `run` above."""
        self._sink.emit(PhaseStarted("looking", f"what {self._stanza.name} holds, and what is needed"))
        seen = self._surveyor.look()
        if not check_mode and self._settle(seen):
            seen = self._surveyor.look()
        for backup_id, missing in seen.broken.items():
            self._sink.emit(Warned(f"the backup {backup_id} cannot be restored: {missing}"))
        plan = self._plan(seen)
        return self._predicted(seen, plan) if check_mode else self._carry_out(seen, plan)

    def _settle(self, seen: Survey) -> bool:
        """Have backups that have just become visible stay so, before anything is made to depend on them.

        True when one does not.
        """
        unsettled = {intent.backup_id for intent in seen.intents if intent.verdict != COMPLETE}
        visible = [header.backup_id for header in seen.headers if header.backup_id in unsettled]
        verdicts = [self._intents.settle(backup_id, COMPLETE) for backup_id in visible]
        return DEAD in verdicts

    def _plan(self, seen: Survey) -> ExpireResult:
        built_upon = {each.parent: each.backup_id for each in seen.intents if each.parent and each.is_alive(seen.now)}
        if self._policy.expires_something:
            verdicts = retention.judge(self._policy, seen.headers, seen.broken, built_upon, seen.now)
        else:
            verdicts = [Verdict(header, True, ["there is no rule"]) for header in seen.headers]
        return ExpireResult(verdicts=verdicts, forgotten=seen.finished_intents(), withdrawn=seen.void)

    def _predicted(self, seen: Survey, plan: ExpireResult) -> ExpireResult:
        expired = {verdict.backup.backup_id for verdict in plan.expired}
        garbage = self._garbage(seen, expired, plan.forgotten)
        new = _unmarked(seen.marks, garbage)
        ripe = _named(self._ripe(seen.marks)) | (set() if self._policy.grace else set(new))
        going = sorted(ripe & set(garbage))
        return replace(
            plan,
            wal=_wal_ranges(new),
            condemned=self._amount(seen, new),
            waiting=self._amount(seen, set(garbage) - set(going)),
            deleted=self._amount(seen, going),
            unfinished=len(self._unfinished(seen, plan.forgotten)),
        )

    def _carry_out(self, seen: Survey, plan: ExpireResult) -> ExpireResult:
        if plan.expired:
            self._sink.emit(PhaseStarted("expiring", f"{len(plan.expired)} backups"))
        for backup_id in (*plan.withdrawn, *(verdict.backup.backup_id for verdict in plan.expired)):
            self._stanza.unpublish(backup_id)
        visible = {header.backup_id for header in seen.headers}
        for intent in (*seen.intents, *seen.given_up):
            if intent.backup_id not in plan.forgotten:
                continue
            if intent.verdict or intent.backup_id in visible:
                self._intents.remove(intent.backup_id)
            else:
                self._intents.give_up(intent)
        seen = self._surveyor.look()
        garbage = self._garbage(seen)
        new = _unmarked(seen.marks, garbage)
        condemned = self._amount(seen, new)
        if new:
            self._sink.emit(PhaseStarted("marking", f"{len(new)} objects that nobody needs"))
            self._condemned.write(new, self._clock)
            if not self._policy.grace:
                seen = self._surveyor.look()  # after the mark, so that whoever begins later sees it
                garbage = self._garbage(seen)
        unfinished = self._unfinished(seen)
        for each in unfinished:
            self._store.discard(each)
        ripe = self._ripe(seen.marks)
        going = sorted(_named(ripe) & set(garbage))
        self._delete(going)
        self._condemned.forget(ripe)
        return replace(
            plan,
            wal=_wal_ranges(new),
            condemned=condemned,
            waiting=self._amount(seen, set(garbage) - set(going)),
            deleted=self._amount(seen, going),
            unfinished=len(unfinished),
        )

    def _garbage(self, seen: Survey, without: Collection[str] = (), finished: Collection[str] = ()) -> dict[str, str]:
        found = seen.garbage(without=without, finished=finished)
        if self._policy.expires_something:
            gone = {"without": without, "finished": finished}
            found.update(unneeded_wal(self._stanza, seen, self._policy, elsewhere=self._elsewhere, **gone))
        return found

    def _ripe(self, marks: list[Mark]) -> list[Mark]:
        """Marks whose grace period is over."""
        now = self._clock.now()
        return [mark for mark in marks if now - mark.since >= self._policy.grace]

    def _delete(self, names: list[str]) -> None:
        if not names:
            return
        self._sink.emit(PhaseStarted("deleting", f"{len(names)} objects that nobody has needed for long enough"))

        def delete(name: str) -> None:
            self._store.delete(self._root + name)

        workers.run(names, [(delete, lambda: None) for _number in range(_DELETERS)])

    def _unfinished(self, seen: Survey, finished: Collection[str] = ()) -> list[Unfinished]:
        """Writes that were begun long ago and belong to no backup that may still run."""
        running = [each for each in seen.intents if each.backup_id not in finished and each.is_alive(seen.now)]
        places = {(kind, each.backup_id) for each in running for kind in ("backups", "intents")}
        places |= {("generations", each.generation) for each in running}
        in_use = tuple(f"{self._root}{kind}/{name}/" for kind, name in places)
        before = seen.now - max(self._policy.grace, _STILL_BEING_WRITTEN)
        try:
            return [
                each
                for each in self._store.unfinished(self._root)
                if each.since <= before and not each.name.startswith(in_use)
            ]
        except LifeboatError as error:
            if error.code != "storage_not_permitted":
                raise
            self._sink.emit(Warned(f"unfinished uploads are left where they are: {error.message}"))
            return []

    def _amount(self, seen: Survey, names: Collection[str]) -> Amount:
        return Amount(len(names), sum(seen.objects.get(name, 0) for name in names))


def _named(marks: list[Mark]) -> set[str]:
    return {name for mark in marks for name in mark.objects}


def _unmarked(marks: list[Mark], garbage: Mapping[str, str]) -> dict[str, str]:
    known = _named(marks)
    return {name: why for name, why in garbage.items() if name not in known}


def _wal_ranges(names: Collection[str]) -> list[WalRange]:
    files: dict[tuple[str, int], list[str]] = {}
    for name in names:
        if name.startswith("wal/"):
            file_name = name.rpartition("/")[2].rpartition("-")[0]
            files.setdefault((name.split("/")[1], int(file_name[:8], 16)), []).append(file_name)
    return [WalRange(*place, min(found), max(found), len(found)) for place, found in sorted(files.items())]
