# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counting bytes from several threads: for one progress sink, and to keep below a rate."""

from __future__ import annotations

import threading

from ..clock import Clock, SystemClock
from ..ports import ProgressSink
from ..report.events import Progress


class ByteTally:
    """Adds up what workers have done and tells the sink; with `max_rate`, bytes a second, holds them back."""

    def __init__(
        self, sink: ProgressSink, total_bytes: int, max_rate: float | None = None, clock: Clock | None = None
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock or SystemClock()
        self._began = self._clock.monotonic()
        self._max_rate = max_rate
        self._sink = sink
        self._total = total_bytes
        self.done = 0

    def add(self, count: int) -> None:
        """Count bytes; the total grows when more is found than was expected."""
        with self._lock:
            self.done += count
            self._sink.emit(Progress(self.done, max(self._total, self.done)))
            early = self.done / self._max_rate - (self._clock.monotonic() - self._began) if self._max_rate else 0.0
        if early > 0:
            self._clock.sleep(early)

    def skip(self, count: int) -> None:
        """Count bytes that nobody had to read: they are no load."""
        with self._lock:
            self.done += count
            if self._max_rate:
                self._began -= count / self._max_rate  # as if they had taken their time
            self._sink.emit(Progress(self.done, max(self._total, self.done)))
