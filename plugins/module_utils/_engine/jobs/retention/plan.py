# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups a policy keeps and which it does not, each with its reasons. Nothing here touches anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ...clock import parse_utc, utc_text
from ...repository.manifest import AnyHeader, Header
from ...retention_policy import Policy


@dataclass(frozen=True)
class Verdict:
    """What becomes of a backup, and why."""

    backup: AnyHeader
    keep: bool
    reasons: list[str]


def judge(
    policy: Policy,
    backups: Sequence[AnyHeader],
    broken: Mapping[str, str],
    built_upon: Mapping[str, str],
    now: datetime,
) -> list[Verdict]:
    """A verdict for every backup, in the order given, which is oldest first.

    `broken` says what is wrong with those that cannot be restored: they count for nothing. `built_upon` names, for
    backups that running ones build on, those. A backup is kept when anything speaks for it. Rules count backups of the
    same things only: no dump of one database takes the place of another's, or of a physical backup.
    """
    alike: dict[str, list[AnyHeader]] = {}
    for each in backups:
        alike.setdefault("" if isinstance(each, Header) else each.subject, []).append(each)
    verdicts = [verdict for group in alike.values() for verdict in _judge(policy, group, broken, built_upon, now)]
    order = {each.backup_id: number for number, each in enumerate(backups)}
    return sorted(verdicts, key=lambda verdict: order[verdict.backup.backup_id])


def _judge(
    policy: Policy,
    backups: Sequence[AnyHeader],
    broken: Mapping[str, str],
    built_upon: Mapping[str, str],
    now: datetime,
) -> list[Verdict]:
    good = [each for each in backups if each.backup_id not in broken]
    begins_window = _begins_window(policy, good, now)
    last = _last_good(good)
    counted: Counter[str] = Counter()
    verdicts = []
    for each in reversed(backups):
        name, reasons = each.backup_class, []
        most, days = policy.last_of(name), policy.days_of(name)
        if most is None and days is None:
            reasons.append(f"no rule for the class {name}")
        if most is not None and counted[name] < most:
            reasons.append(f"one of the {most} newest of the class {name}")
        if days is not None and now - parse_utc(_moment(each)) < timedelta(days=days):
            reasons.append(f"younger than {days:g} days")
        if begins_window is not None and each.backup_id == begins_window.backup_id:
            reasons.append(f"recovery to the beginning of the last {policy.window:g} days starts from it")
        if each.backup_id in last:
            reasons.append(last[each.backup_id])
        if each.backup_id in built_upon:
            reasons.append(f"the backup {built_upon[each.backup_id]} is being built on it")
        keep = bool(reasons)
        if not keep:
            reasons = _against(name, most, days)
        if each.backup_id in broken:
            reasons.append(broken[each.backup_id])
        else:
            counted[name] += 1
        verdicts.append(Verdict(each, keep, reasons))
    return verdicts[::-1]


def _against(name: str, most: int | None, days: float | None) -> list[str]:
    return [
        *([f"there are {most} newer ones of the class {name}"] if most is not None else []),
        *([f"older than {days:g} days"] if days is not None else []),
    ]


def _moment(backup: AnyHeader) -> str:
    """What its age is counted from."""
    return backup.stop_time if isinstance(backup, Header) else backup.finished


def _begins_window(policy: Policy, good: Sequence[AnyHeader], now: datetime) -> Header | None:
    """The newest backup that ended before the window begins; without it the window's beginning could not be reached."""
    if policy.window is None:
        return None
    physical = [each for each in good if isinstance(each, Header)]
    return newest_before(physical, now - timedelta(days=policy.window))


def newest_before(backups: Sequence[Header], moment: datetime) -> Header | None:
    """The newest of these backups that can be recovered to this moment."""
    before = [each for each in backups if each.stop_time <= utc_text(moment)]
    return max(before, key=lambda each: each.stop_time) if before else None


def _last_good(good: Sequence[AnyHeader]) -> dict[str, str]:
    """What is never deleted: the newest that can be restored and, should it have damaged pages, that without."""
    physical = [each for each in good if isinstance(each, Header)]
    kept = {each.backup_id: "the newest that has no damaged pages" for each in physical if not each.damaged_pages}
    found = dict(list(kept.items())[-1:])
    if good:
        found[good[-1].backup_id] = "the newest good backup"
    return found
