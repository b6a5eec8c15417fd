# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long each phase of a job took."""

from __future__ import annotations

from dataclasses import dataclass

from ..clock import Clock
from ..ports import ProgressSink
from .events import Event, PhaseStarted


@dataclass(frozen=True)
class PhaseTime:
    """One phase and its seconds."""

    phase: str
    seconds: float


class PhaseTimer:
    """A sink that passes everything on and notes when phases begin."""

    def __init__(self, sink: ProgressSink, clock: Clock) -> None:
        self._sink = sink
        self._clock = clock
        self._began: list[tuple[str, float]] = []

    def emit(self, event: Event) -> None:
        """Note a phase's start; pass every event on."""
        if isinstance(event, PhaseStarted):
            self._began.append((event.phase, self._clock.monotonic()))
        self._sink.emit(event)

    def times(self) -> list[PhaseTime]:
        """Each phase until the next one began; the last until now."""
        ends = [began for _phase, began in self._began[1:]] + [self._clock.monotonic()]
        return [PhaseTime(name, round(end - began, 3)) for (name, began), end in zip(self._began, ends)]
