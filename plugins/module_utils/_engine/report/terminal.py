# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress for whoever typed `lifeboat`: one live line on a terminal, a line per phase elsewhere."""

from __future__ import annotations

import contextlib
import shutil
import threading
from typing import TextIO

from ..clock import Clock, SystemClock
from .events import Event, PhaseStarted, Progress
from .wording import duration_text, event_text, size_text

_REPAINT_SECONDS = 0.1
_SPEED_NEEDS_SECONDS = 1.0
_START_OF_LINE, _CLEAR_REST = "\r", "\x1b[K"


class TerminalSink:
    """Writes events to `stream`, usually standard error. A terminal that went away is no error."""

    def __init__(self, stream: TextIO, clock: Clock | None = None) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._phase = ""
        self._phase_began: tuple[float, int] | None = None  # when, and how much was done already
        self._line = ""  # the live line as it should look
        self._painted_at = 0.0

    def emit(self, event: Event) -> None:
        """Show the event."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            if isinstance(event, Progress):
                if self._live:
                    self._line = event_text(event, self._phase) + self._speed_text(event)
                    self._paint(_REPAINT_SECONDS)
                return
            self._settle()
            if isinstance(event, PhaseStarted):
                self._phase, self._phase_began = event.phase, None
                if self._live:
                    self._line = event_text(event)
                    self._paint()
                    return
            self._stream.write(event_text(event) + "\n")
            self._stream.flush()

    def _speed_text(self, event: Progress) -> str:
        now = self._clock.monotonic()
        if self._phase_began is None:
            self._phase_began = now, event.done_bytes
        began, done_before = self._phase_began
        if now - began < _SPEED_NEEDS_SECONDS or event.done_bytes <= done_before:
            return ""
        speed = (event.done_bytes - done_before) / (now - began)
        left = max(0, event.total_bytes - event.done_bytes)
        return f"  {size_text(round(speed))}/s" + (f"  {duration_text(left / speed)} left" if left else "")

    def _paint(self, pause: float = 0.0) -> None:
        now = self._clock.monotonic()
        if now - self._painted_at >= pause:
            self._painted_at = now
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(_START_OF_LINE + self._line[:width] + _CLEAR_REST)
            self._stream.flush()

    def _settle(self) -> None:
        """Leave the live line behind in its last state and begin a new one."""
        if self._line:
            self._paint()
            self._stream.write("\n")
            self._line = ""
