# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When to try again: after each failure later, up to a limit."""

from __future__ import annotations

from ...clock import Clock


class Retry:
    """One thing that is tried again and again."""

    def __init__(self, clock: Clock, first_pause: float, longest_pause: float) -> None:
        self._clock = clock
        self._first = first_pause
        self._longest = longest_pause
        self._pause = 0.0
        self._at = 0.0

    def due(self) -> bool:
        """Whether it is time."""
        return self._clock.monotonic() >= self._at

    def failed(self) -> None:
        """Wait, longer than before."""
        self._pause = min(self._longest, max(self._first, 2 * self._pause))
        self._at = self._clock.monotonic() + self._pause

    def worked(self) -> None:
        """From now on without waiting."""
        self._pause = self._at = 0.0
