# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the loop believes to be true."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from harness import Cluster
from support import Site
from write_load import contents

Contents = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Moment:
    """A time at which nobody wrote, and what there was."""

    time: str
    number: int
    contents: Contents


@dataclass
class World:
    """The site, its standby, what was restored from it, and what must be so.

    `backups` are those that must be visible, oldest first; each with how many moments there had been at its end.
    """

    site: Site
    standby: Cluster
    chance: random.Random
    places: Path
    backups: dict[str, int] = field(default_factory=dict)
    moments: list[Moment] = field(default_factory=list)
    restored: list[Cluster] = field(default_factory=list)
    diary: list[str] = field(default_factory=list)
    killed: bool = False  # whether the last backup was, so that it may have left something

    def note(self, text: str) -> None:
        """Write into the diary, which is what a failure shows."""
        self.diary.append(text)

    def rest(self) -> Moment:
        """Nobody writes: what there is now can be compared with later."""
        cluster = self.site.cluster
        ((time,),) = cluster.sql("SELECT clock_timestamp()")
        moment = Moment(time.isoformat(), len(self.moments), contents(cluster))
        self.moments.append(moment)
        return moment

    def must_hold(self) -> None:
        """After every step: exactly the backups that were made can be seen, and nothing of a dead one is left."""
        visible = self.site.backup_ids()
        assert visible == list(self.backups), (visible, list(self.backups))
        if not self.killed:
            left = sorted(self.site.repository.rglob("stanzas/*/intents/*/intent"))
            assert left == [], left
