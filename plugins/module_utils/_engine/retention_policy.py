# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user wants to keep, read from flat settings: one grammar in lifeboat.conf, on the command line, in modules.

    keep_last = 7, pre_migration=2
    keep_days = 14, pre_migration=90

A number alone is for every class that has no entry of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from .errors import PreconditionError

# What a backup was made for.
CLASSES = ("manual", "scheduled", "pre_migration", "pre_restore")
DEFAULT_CLASS = "manual"
RETENTION_KEYS = ("keep_last", "keep_days", "keep_wal_days", "grace_hours")
EVERY = ""  # stands for every class without an entry of its own
DEFAULT_GRACE = timedelta(hours=24)


@dataclass(frozen=True)
class Policy:
    """How many backups are kept, for how long, by class; and how long WAL is kept beside them."""

    keep_last: Mapping[str, int] = field(default_factory=dict)
    keep_days: Mapping[str, float] = field(default_factory=dict)
    keep_wal_days: float | None = None
    grace: timedelta = DEFAULT_GRACE

    @property
    def expires_something(self) -> bool:
        """Whether there is any rule; without one only garbage is collected."""
        return bool(self.keep_last or self.keep_days or self.keep_wal_days is not None)

    def last_of(self, backup_class: str) -> int | None:
        """How many of a class are kept; None when there is no such rule."""
        return self.keep_last.get(backup_class, self.keep_last.get(EVERY))

    def days_of(self, backup_class: str) -> float | None:
        """How many days those of a class are kept; None when there is no such rule."""
        return self.keep_days.get(backup_class, self.keep_days.get(EVERY))

    @property
    def window(self) -> float | None:
        """The days to any moment of which recovery shall be possible."""
        return self.keep_days.get(EVERY)


def parse(values: Mapping[str, str]) -> Policy:
    """The policy that flat settings describe."""
    wal_days = values.get("keep_wal_days")
    grace = values.get("grace_hours")
    return Policy(
        keep_last={name: _whole("keep_last", text) for name, text in _by_class(values, "keep_last")},
        keep_days={name: _number("keep_days", text) for name, text in _by_class(values, "keep_days")},
        keep_wal_days=_number("keep_wal_days", wal_days) if wal_days else None,
        grace=timedelta(hours=_number("grace_hours", grace)) if grace else DEFAULT_GRACE,
    )


def _by_class(values: Mapping[str, str], setting: str) -> list[tuple[str, str]]:
    found: dict[str, str] = {}
    for part in (values.get(setting) or "").split(","):
        word = part.strip()
        if not word:
            continue
        name, equals, number = (piece.strip() for piece in word.rpartition("="))
        if equals and name not in CLASSES:
            raise _invalid(setting, f"{name!r} is no class of backups.", f"Classes are {', '.join(CLASSES)}.")
        if name in found:
            raise _invalid(setting, f"{word!r} is the second entry for {name or 'every class'}.", "Keep one of them.")
        found[name] = number
    return list(found.items())


def _whole(setting: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise _invalid(setting, f"{text!r} is no whole number.", "Give a number, such as 7, or CLASS=NUMBER.")
    return int(text)


def _number(setting: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < math.inf or number > 1_000_000:  # not a number compares false with everything
        raise _invalid(setting, f"{text!r} is no number of 0 or more.", "Give a number, such as 14.")
    return number


def _invalid(setting: str, happened: str, remedy: str) -> PreconditionError:
    return PreconditionError(f"reading {setting}", happened, remedy, code="setting_invalid", setting=setting)
