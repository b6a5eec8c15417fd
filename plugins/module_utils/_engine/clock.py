# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real clock behind `ports.Clock`, and the one way times are written."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Protocol


class Clock(Protocol):
    """Where jobs get the time from; tests bring their own."""

    def now(self) -> datetime:
        """Return the present moment with its zone."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present moment in UTC."""
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def utc_text(moment: datetime) -> str:
    """UTC, microseconds, `Z`; sorts by time."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_utc(text: str) -> datetime:
    """The reverse of `utc_text`. Asked for every file of a backup, so by the fast way."""
    if not text.endswith("Z"):
        raise ValueError(f"{text!r} does not say that it is UTC")
    return datetime.fromisoformat(text[:-1]).replace(tzinfo=timezone.utc)
