# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backup is made: a full one, or an incremental one of which parent."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from ...clock import parse_utc
from ...errors import PreconditionError
from ...repository.manifest import Header
from ...repository.stanza import Incarnation

TYPES = ("auto", "full", "incremental")
_STAMP = "%Y%m%dT%H%M%SZ"
_STAMPED = re.compile(r"\d{8}T\d{6}Z")


@dataclass(frozen=True)
class Decision:
    """What is made. `previous` is compared with in any case; only an incremental refers to it."""

    backup_type: str
    previous: Header | None
    newest_id: str = ""  # of all the stanza's backups

    @property
    def parent(self) -> Header | None:
        """The backup whose content is taken over."""
        return self.previous if self.backup_type == "incremental" else None


def decide(wanted: str, full_every: timedelta, headers: list[Header], life: Incarnation, now: datetime) -> Decision:
    """`auto` begins a new generation when there is none, or when the present one is old enough."""
    own = [header for header in headers if header.incarnation == life.incarnation]
    previous = own[-1] if own else None
    newest_id = headers[-1].backup_id if headers else ""
    if wanted == "full":
        return Decision("full", previous, newest_id)
    if previous is None:
        if wanted == "incremental":
            raise PreconditionError(
                "making an incremental backup",
                "there is no backup of this cluster that it could build on.",
                "Make a full one first, or let type be auto.",
                code="no_parent_backup",
            )
        return Decision("full", None, newest_id)
    if wanted == "auto":
        generation_began = min(parse_utc(each.started) for each in own if each.generation == previous.generation)
        if now - generation_began >= full_every:
            return Decision("full", previous, newest_id)
    return Decision("incremental", previous, newest_id)


def new_id(newest_id: str, what: str, started: datetime) -> str:
    """Ids sort in the order of making, also within one second and where the clock has been set back."""
    newest = _STAMPED.match(newest_id)
    if newest is not None and newest[0] >= started.strftime(_STAMP):
        started = datetime.strptime(newest[0], _STAMP) + timedelta(seconds=1)
    return f"{started.strftime(_STAMP)}-{what[:4]}-{secrets.token_hex(3)}"
