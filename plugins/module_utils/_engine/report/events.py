# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job tells while it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """Base: every event names its type when written down."""

    def as_dict(self) -> dict[str, Any]:
        """A flat JSON form, readable by any version."""
        return {"event": EVENT_NAMES[type(self)], **asdict(self)}


@dataclass(frozen=True)
class PhaseStarted(Event):
    """A step with a name for people begins; the one before is over."""

    phase: str
    detail: str = ""


@dataclass(frozen=True)
class Progress(Event):
    """How far the present phase is. `total` 0 means unknown."""

    done_bytes: int
    total_bytes: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Warned(Event):
    """Something the user should know although the job goes on."""

    message: str


@dataclass(frozen=True)
class Finished(Event):
    """The job ended; the last event of every job, whatever happened."""

    ok: bool
    message: str


EVENT_NAMES: dict[type[Event], str] = {
    PhaseStarted: "phase",
    Progress: "progress",
    Warned: "warning",
    Finished: "finished",
}
_TYPES = {name: cls for cls, name in EVENT_NAMES.items()}


def from_dict(data: dict[str, Any]) -> Event:
    """Rebuild an event written with `as_dict`."""
    fields = dict(data)
    return _TYPES[fields.pop("event")](**fields)
