# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counting bytes from several threads for one progress sink."""

from __future__ import annotations

import threading

from ..ports import ProgressSink
from ..report.events import Progress


class ByteTally:
    """Adds up what workers have done and tells the sink."""

    def __init__(self, sink: ProgressSink, total_bytes: int) -> None:
        self._lock = threading.Lock()
        self._sink = sink
        self._total = total_bytes
        self.done = 0

    def add(self, count: int) -> None:
        """Count bytes; the total grows when more is found than was expected."""
        with self._lock:
            self.done += count
            self._sink.emit(Progress(self.done, max(self._total, self.done)))
