# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster's other repositories hold, for one that gets only WAL and has no backup to judge it by.

Its WAL is a copy for the backups that are elsewhere, so these say what of it is needed. When one of the other
repositories cannot be asked, all of it is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ...errors import LifeboatError
from ...ports import ProgressSink
from ...report.events import Warned
from ...repository.access import stanza_of
from ...repository.intents import DEAD, Intents
from ...repository.manifest import Header
from ...repository.stanza import Stanza
from ...specs import RepositorySpec
from ...store import opening


def prepare(others: Sequence[RepositorySpec]) -> None:
    """Import what opening them takes, while that is possible. What is missing shows when they are opened."""
    for spec in others:
        with contextlib.suppress(LifeboatError):
            opening.prepare(spec)


@dataclass(frozen=True)
class Backups:
    """All that are there, and the lives of the cluster in which one is being made, or may be gone on from."""

    headers: Sequence[Header] = field(default_factory=list)
    in_work: Collection[str] = field(default_factory=set)


class Elsewhere:
    """The other repositories of one cluster."""

    def __init__(self, others: Sequence[RepositorySpec], stanza: str, sink: ProgressSink) -> None:
        self._others = others
        self._stanza = stanza
        self._sink = sink

    def look(self) -> Backups | None:
        """What is there now; None when that cannot be known."""
        if not self._others:
            return None
        found = []
        for spec in self._others:
            try:
                found.append(backups_of(stanza_of(spec, self._stanza, only_lists=True)))
            except LifeboatError as exc:
                text = f"whether backups in {spec.url} need the WAL here cannot be known, so all of it stays"
                self._sink.emit(Warned(f"{text}: {exc.message}"))
                return None
        return Backups([each for one in found for each in one.headers], {life for one in found for life in one.in_work})


def backups_of(stanza: Stanza) -> Backups:
    """Intents first: a backup that becomes visible meanwhile is seen as one or the other."""
    in_work = {intent.incarnation for intent in Intents(stanza).all() if intent.verdict != DEAD}
    return Backups(stanza.headers(), in_work)
