# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events in words, the same on a terminal and in a play's output."""

from __future__ import annotations

from .events import Event, Finished, PhaseStarted, Progress, Warned

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def size_text(count: int) -> str:
    """Bytes for people, in powers of 1000: `412 MB`, `1.2 GB`."""
    value, power = float(count), 0
    while value >= 999.5 and power < len(_UNITS) - 1:
        value, power = value / 1000, power + 1
    digits = 1 if power and value < 9.95 else 0
    return f"{value:.{digits}f} {_UNITS[power]}"


def duration_text(seconds: float) -> str:
    """A time span for people, in its two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def event_text(event: Event, phase: str = "") -> str:
    """One line about an event; `phase` is the one that a Progress belongs to.

    Names of files may be among it, so nothing gets through that a terminal would obey.
    """
    return "".join(character if character.isprintable() else "?" for character in _raw_text(event, phase))


def _raw_text(event: Event, phase: str) -> str:
    if isinstance(event, PhaseStarted):
        return f"{event.phase} ({event.detail})" if event.detail else event.phase
    if isinstance(event, Progress):
        return "  ".join(filter(None, (phase, _amount_text(event), event.detail)))
    if isinstance(event, Warned):
        return f"warning: {event.message}"
    if isinstance(event, Finished):
        return event.message if event.ok else f"failed: {event.message}"
    return ""


def _amount_text(progress: Progress) -> str:
    if progress.total_bytes <= 0:
        return size_text(progress.done_bytes)
    percent = 100 * progress.done_bytes // progress.total_bytes
    return f"{size_text(progress.done_bytes)} of {size_text(progress.total_bytes)} ({percent} %)"
