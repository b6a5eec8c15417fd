# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery targets as users write them.

A time must say which instant it means: by its offset, by the name of its zone where the hour
exists once there, or by how long ago it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from ...errors import PreconditionError
from ...postgres.recovery_settings import CURRENT, LATEST, Action, RecoveryTarget
from ...postgres.wal_names import parse_lsn

Target = RecoveryTarget
_DATE = (
    r"(?:(?P<year>\d{4})-?(?:(?P<month>\d\d)-?(?P<day>\d\d)|W(?P<week>\d\d)-?(?P<weekday>[1-7])|(?P<ordinal>\d{3})))"
)
_TIME = r"(?P<hour>\d\d)(?::?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?)?"
_OFFSET = r"(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d)(?::?(?P<seconds>\d\d))?)?"
_ZONE = rf"(?:(?P<utc>[zZ]|UTC|GMT)|{_OFFSET}|(?P<zone>[A-Za-z]+(?:[/_+-][A-Za-z0-9]+)+))"
_MOMENT = re.compile(rf"{_DATE}(?:[tT]|\s+){_TIME}\s*{_ZONE}?")
_AGO = re.compile(r"(?:(?P<count>\d+(?:\.\d+)?)|an?)\s+(?P<unit>second|minute|hour|day|week)s?\s+ago", re.IGNORECASE)
_LONGEST_NAME = 63  # bytes, as PostgreSQL keeps a restore point's
_SMALLEST_XID = 3
_MOST_XIDS = 1 << 64


@dataclass(frozen=True)
class TargetText:
    """What the user wrote; nothing at all means everything that is archived."""

    time: str | None = None
    lsn: str | None = None
    xid: str | int | None = None
    name: str | None = None
    immediate: bool = False
    inclusive: bool = True
    timeline: str | int = LATEST
    action: str = Action.PROMOTE.value

    def parse(self, now: datetime) -> RecoveryTarget:
        """The target that is meant, or an error that says what is wrong with it."""
        given: Mapping[str, object] = {"time": self.time, "LSN": self.lsn, "transaction": self.xid, "name": self.name}
        kinds = [kind for kind, value in given.items() if value is not None] + ["immediate"] * self.immediate
        if len(kinds) > 1:
            raise _invalid(f"{' and '.join(kinds)} are given at once.", "Give one target.")
        if not self.inclusive and (not kinds or kinds[0] in {"name", "immediate"}):
            raise _invalid(
                "only a time, a WAL location or a transaction can be excluded.", "Leave inclusive as it is for others."
            )
        if self.action != Action.PROMOTE.value and not kinds:
            raise _invalid(
                f"without a target there is no point to {self.action} at.", "Give a target, or leave the action out."
            )
        return RecoveryTarget(
            time=None if self.time is None else parse_time(self.time, now),
            lsn=None if self.lsn is None else parse_lsn(self.lsn.strip()),
            xid=None if self.xid is None else _xid(self.xid),
            name=None if self.name is None else require_name(self.name),
            immediate=self.immediate,
            inclusive=self.inclusive,
            timeline=_timeline(self.timeline),
            action=Action(self.action),
        )


def parse_time(text: str, now: datetime) -> datetime:
    """An instant, from ISO 8601 with its zone or from how long ago it was."""
    words = text.strip()
    ago = _AGO.fullmatch(words)
    if ago:
        return now - timedelta(**{f"{ago['unit'].lower()}s": float(ago["count"] or 1)})
    match = _MOMENT.fullmatch(words)
    try:
        if match is None:
            raise ValueError("it is no time in ISO 8601.")
        return _instant(match, text)
    except ValueError as exc:
        happened = str(exc)
    raise PreconditionError(
        f"reading the target time {text!r}",
        happened,
        "Write it with its zone, such as 2026-11-21T14:30:00+01:00, 2026-11-21T13:30:00Z,"
        " 2026-11-21 14:30 Europe/Berlin or 2 hours ago.",
        code="target_time_invalid",
    )


def _instant(match: re.Match[str], text: str) -> datetime:
    day = _day(match)
    hour, minute, second = (int(match[name] or 0) for name in ("hour", "minute", "second"))
    micros = int((match["fraction"] or "").ljust(6, "0")[:6])
    if (hour, minute, second, micros) == (24, 0, 0, 0):  # ISO 8601's end of a day
        day, hour = day + timedelta(days=1), 0
    local = datetime(day.year, day.month, day.day, hour, minute, second, micros)
    if match["utc"]:
        return local.replace(tzinfo=timezone.utc)
    if match["sign"]:
        offset = timedelta(**{name: int(match[name] or 0) for name in ("hours", "minutes", "seconds")})
        return local.replace(tzinfo=timezone(-offset if match["sign"] == "-" else offset))
    if match["zone"]:
        return _in_zone(local, match["zone"])
    raise ValueError("it names no zone.")


def _day(match: re.Match[str]) -> date:
    year = int(match["year"])
    if match["week"]:
        return date.fromisocalendar(year, int(match["week"]), int(match["weekday"]))
    if match["ordinal"]:
        day = date(year, 1, 1) + timedelta(days=int(match["ordinal"]) - 1)
        if day.year != year or match["ordinal"] == "000":
            raise ValueError(f"{year} has no day {match['ordinal']}.")
        return day
    return date(year, int(match["month"]), int(match["day"]))


def _in_zone(local: datetime, name: str) -> datetime:
    """The instant at which clocks there show this; where they do twice, or never, the user must say more."""
    try:
        zone: tzinfo = ZoneInfo(name)
    except (KeyError, ValueError, OSError) as exc:
        raise ValueError(f"this machine knows no time zone {name}.") from exc
    first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first.astimezone(timezone.utc)
    offsets = " or ".join(f"{local.isoformat()}{each.isoformat()[-6:]}" for each in (first, second))
    back = first.astimezone(timezone.utc).astimezone(zone).replace(tzinfo=None)
    how = "twice, as" if back == local else "never: the hour is left out. Meant may be"
    raise ValueError(f"in {name} clocks show it {how} {offsets}.")


def _xid(text: str | int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not _SMALLEST_XID <= number < _MOST_XIDS:
        raise _invalid(f"{text!r} is no transaction's number.", "Give what pg_current_xact_id() or xmin shows.")
    return number


def require_name(text: str) -> str:
    """A restore point's name, as PostgreSQL takes it."""
    if not text or len(text.encode()) > _LONGEST_NAME:
        raise _invalid(f"{text!r} is no restore point's name.", f"Names have 1 to {_LONGEST_NAME} bytes.")
    return text


def _timeline(text: str | int) -> str | int:
    if text in (LATEST, CURRENT):
        return text
    try:
        number = int(text)
    except ValueError:
        number = 0
    if not 1 <= number < 1 << 32:
        raise _invalid(f"{text!r} is no timeline.", f"Give {LATEST}, {CURRENT} (the backup's own) or a number.")
    return number


def _invalid(happened: str, remedy: str) -> PreconditionError:
    return PreconditionError("reading the recovery target", happened, remedy, code="target_invalid")
