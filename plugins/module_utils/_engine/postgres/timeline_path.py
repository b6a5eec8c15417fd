# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timelines: which WAL, from the cluster's beginning, leads to the present of each.

Whoever recovers to a point and opens the database begins a new timeline there. Its history file
says where it left its parent; what the parent wrote behind that point is on no way to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import IntegrityError
from .timelines import parse_history
from .wal_names import Lsn, WalSegment, format_lsn, history_name


@dataclass(frozen=True)
class Leg:
    """A part of the way: a timeline's WAL from `begin` up to, not including, `end`; None where it goes on."""

    timeline: int
    begin: Lsn
    end: Lsn | None = None


@dataclass(frozen=True)
class Path:
    """The way from the cluster's beginning to a timeline's present."""

    legs: tuple[Leg, ...]

    @property
    def timeline(self) -> int:
        """The timeline that the way leads to."""
        return self.legs[-1].timeline

    @property
    def timelines(self) -> list[int]:
        """All timelines that are passed, the first one first."""
        return [leg.timeline for leg in self.legs]

    def leg(self, timeline: int) -> Leg | None:
        """The part on this timeline; None when the way does not pass it."""
        return next((leg for leg in self.legs if leg.timeline == timeline), None)

    def to_ancestor(self, timeline: int) -> Path:
        """The way to a timeline that this one passes."""
        legs = self.legs[: self.timelines.index(timeline) + 1]
        return Path((*legs[:-1], Leg(timeline, legs[-1].begin)))

    def passes(self, timeline: int, lsn: Lsn) -> bool:
        """Whether what was written there, up to `lsn`, is on the way."""
        leg = self.leg(timeline)
        return leg is not None and (leg.end is None or lsn <= leg.end)

    def segment(self, number: int, size: int) -> WalSegment:
        """The segment with this number. The one in which a timeline was left, its child has a copy of."""
        for leg in self.legs:
            if leg.end is None or number < leg.end // size:
                return WalSegment(leg.timeline, number, size)
        return WalSegment(self.timeline, number, size)


def first(timeline: int = 1) -> Path:
    """The way to a timeline that nothing is known to have come before."""
    return Path((Leg(timeline, 0),))


def path_to(timeline: int, history: bytes) -> Path:
    """The way to a timeline, as its history file has it: all ancestors, the oldest first.

    Whoever recovers along one timeline and stops before that had begun has it among the ancestors still, left
    before its beginning: the way leads from an earlier one, and passes nothing of it.
    """
    name = history_name(timeline)
    legs: list[Leg] = []
    last = 0
    for fork in parse_history(name, history):
        if not last < fork.timeline < timeline:
            raise IntegrityError(
                f"reading the timeline history {name}",
                f"it has timeline {fork.timeline}, left at {format_lsn(fork.lsn)}, in a wrong place.",
                "Restore the history file from another copy of the archive, or from the server's pg_wal.",
                code="timeline_history_invalid",
            )
        last = fork.timeline
        legs.append(Leg(fork.timeline, legs[-1].end or 0 if legs else 0, fork.lsn))
        while legs[1:] and fork.lsn < legs[-1].begin:
            legs[-2:] = [Leg(legs[-2].timeline, legs[-2].begin, fork.lsn)]
    return Path((*legs, Leg(timeline, legs[-1].end or 0 if legs else 0)))


def newest(paths: Sequence[Path]) -> Path:
    """The way to the timeline that began last: numbers only grow."""
    return max(paths, key=lambda path: path.timeline)
