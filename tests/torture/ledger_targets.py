# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery targets at random, and where PostgreSQL stops for each: its rules, held against the ledger's records.

As recoveryStopsBefore() and recoveryStopsAfter() have them: a time stops before the first end of a transaction in WAL
whose time is past it (or, excluded, has come), whatever later records say; a location at the first record that begins
there or later; a transaction at its end; a name behind its restore point; immediate where the backup is consistent.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from .ledger import POINT, Lsn, Record, lsn_text

TIME, LSN, XID, NAME, IMMEDIATE, LATEST = "time", "lsn", "xid", "name", "immediate", "latest"
KINDS = {TIME: 6, LSN: 4, XID: 4, NAME: 2, IMMEDIATE: 1, LATEST: 1}
_ZONES = ("UTC", "Asia/Kathmandu", "America/St_Johns", "Europe/Berlin", "Pacific/Apia")
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Target:
    """A target, as the ledger understands it."""

    kind: str
    inclusive: bool = True
    time: datetime | None = None
    lsn: Lsn = 0
    xid: int = 0
    name: str = ""

    def options(self, chance: random.Random) -> list[str]:
        """For the command; a time is that of a clock anywhere."""
        given = {LSN: ["--target-lsn", lsn_text(self.lsn)], XID: ["--target-xid", str(self.xid)]}
        given |= {NAME: ["--target-name", self.name], IMMEDIATE: ["--target-immediate"], LATEST: []}
        if self.time is not None:
            given[TIME] = ["--target-time", _written(self.time, chance)]
        return [*given[self.kind], *([] if self.inclusive else ["--target-exclusive"])]

    def applied(self, records: Sequence[Record], consistent: Lsn | None = None) -> list[Record] | None:
        """The records that are replayed; None when the target is not among them. `consistent` ends the backup."""
        if self.kind == LATEST:
            return list(records)
        if self.kind == IMMEDIATE:
            assert consistent is not None
            return [record for record in records if record.lsn < consistent]
        for number, record in enumerate(records):
            if self._stops_at(record):
                behind = self.kind == NAME or (self.inclusive and self.kind != TIME)
                return list(records[: number + 1 if behind else number])
        return None

    def _stops_at(self, record: Record) -> bool:
        if self.kind == NAME:
            return record.what == POINT and record.name == self.name
        if self.kind == LSN:
            return record.lsn >= self.lsn
        if not record.ends_transaction:
            return False
        if self.kind == XID:
            return record.xid == self.xid
        assert record.time is not None and self.time is not None
        return record.time > self.time or (record.time == self.time and not self.inclusive)


def _written(moment: datetime, chance: random.Random) -> str:
    """With the offset of some place. Its name would not do in the hour that comes twice."""
    local = moment.astimezone(ZoneInfo(chance.choice(_ZONES)))
    return local.isoformat(chance.choice("T "))


def out_of_order(records: Sequence[Record]) -> list[Record]:
    """The ends of transactions behind one with a later time: commit times are not in the order of the WAL."""
    found, newest = [], datetime.min.replace(tzinfo=timezone.utc)
    for record in records:
        if record.time is not None:
            if record.time < newest:
                found.append(record)
            newest = max(newest, record.time)
    return found


def draw(chance: random.Random, records: Sequence[Record], kind: str) -> Target:
    """A target of this kind among these records."""
    inclusive = kind in {NAME, IMMEDIATE, LATEST} or chance.random() < 0.5
    return _DRAWN[kind](chance, records, inclusive)


def _time(chance: random.Random, records: Sequence[Record], inclusive: bool) -> Target:
    """The very time of a transaction's end, an instant beside it, or between two; often where times go back."""
    ends = [record for record in records if record.time is not None]
    inverted = out_of_order(records)
    chosen = chance.choice(inverted if inverted and chance.random() < 0.4 else ends)
    assert chosen.time is not None
    how = chance.randrange(4)
    if how == 3:
        other = chance.choice(ends).time
        assert other is not None
        return Target(TIME, inclusive, chosen.time + (other - chosen.time) / 2)
    return Target(TIME, inclusive, chosen.time + (how - 1) * _INSTANT)


def _lsn(chance: random.Random, records: Sequence[Record], inclusive: bool) -> Target:
    """Where a commit begins or ends, or anywhere between."""
    chosen = chance.choice([record for record in records if record.ends_transaction])
    anywhere = chance.randrange(records[0].lsn, records[-1].end)
    places = [chosen.lsn, chosen.end, chosen.lsn + 1, chosen.lsn - 8, anywhere, records[-1].lsn + chance.choice([0, 1])]
    return Target(LSN, inclusive, lsn=chance.choice(places))


def _xid(chance: random.Random, records: Sequence[Record], inclusive: bool) -> Target:
    """One that was committed or aborted, at once or after it was prepared."""
    return Target(XID, inclusive, xid=chance.choice([record for record in records if record.ends_transaction]).xid)


def _name(chance: random.Random, records: Sequence[Record], inclusive: bool) -> Target:
    return Target(NAME, name=chance.choice([record for record in records if record.what == POINT]).name)


_DRAWN: dict[str, Callable[[random.Random, Sequence[Record], bool], Target]] = {
    TIME: _time,
    LSN: _lsn,
    XID: _xid,
    NAME: _name,
    IMMEDIATE: lambda *_unused: Target(IMMEDIATE),
    LATEST: lambda *_unused: Target(LATEST),
}
