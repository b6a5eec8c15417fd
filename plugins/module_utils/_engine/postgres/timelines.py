# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timeline history files: where each timeline has left the one before it."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import IntegrityError, PreconditionError
from .wal_names import Lsn, parse_lsn


@dataclass(frozen=True)
class Fork:
    """Where a history leaves a timeline for the next one: WAL of the former counts up to this location."""

    timeline: int
    lsn: Lsn


def parse_history(name: str, content: bytes) -> list[Fork]:
    """What a history file says of all timelines before its own, oldest first.

    Each line that is neither empty nor a comment begins with a timeline and a location; the rest is for people.
    """
    forks = []
    for line in content.decode("utf-8", "replace").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            forks.append(Fork(int(words[0]), parse_lsn(words[1])))
        except (ValueError, IndexError, PreconditionError) as exc:
            raise _unreadable(name, line) from exc
    return forks


def _unreadable(name: str, line: str) -> IntegrityError:
    return IntegrityError(
        f"reading the timeline history {name}",
        f"the line {line!r} does not begin with a timeline and a WAL location.",
        "Find out what has written it; PostgreSQL could not follow it either.",
        code="timeline_history_unreadable",
    )
