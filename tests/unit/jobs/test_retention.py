# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups a policy keeps: by number, by age, by class, and never without the last good one."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from typing import Any

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import utc_text
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.retention.plan import Verdict, judge
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import (
    AnyHeader,
    Header,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.retention_policy import (
    CLASSES,
    Policy,
    parse,
)
from made import header, set_header

NOW = datetime(2026, 7, 1, 12, tzinfo=timezone.utc)


def backup(days_ago: float, backup_class: str = "scheduled", **changes: Any) -> Header:
    """A backup that ended so many days ago; its id is that number."""
    ended = utc_text(NOW - timedelta(days=days_ago))
    return header(
        **{"backup_id": f"{days_ago:g}", "backup_class": backup_class, "stop_time": ended, "finished": ended, **changes}
    )


def verdicts(policy: str, *backups: AnyHeader, **how: Any) -> list[Verdict]:
    """Backups given oldest first, judged by a policy such as `last=2 days=7`."""
    values = {f"keep_{word.partition('=')[0]}": word.partition("=")[2] for word in policy.split()}
    found = judge(parse(values), backups, how.get("broken", {}), how.get("built_upon", {}), NOW)
    assert [verdict.backup for verdict in found] == list(backups)
    assert all(verdict.reasons for verdict in found), "every keep and every delete has a reason"
    return found


def kept(policy: str, *backups: AnyHeader, **how: Any) -> list[str]:
    return [verdict.backup.backup_id for verdict in verdicts(policy, *backups, **how) if verdict.keep]


DAILY = [backup(days) for days in (9, 8, 7, 6, 5, 4, 3, 2, 1)]


def test_so_many_of_the_newest() -> None:
    assert kept("last=3", *DAILY) == ["3", "2", "1"]
    assert kept("last=99", *DAILY) == [each.backup_id for each in DAILY]


def test_backups_of_different_things_do_not_count_for_one_another() -> None:
    def dump(days_ago: float, *databases: str) -> AnyHeader:
        ended = utc_text(NOW - timedelta(days=days_ago))
        return set_header(*databases, backup_id=f"{days_ago:g}", finished=ended, backup_class="scheduled")

    mixed = [backup(6), dump(5, "shop"), dump(4, "shop"), dump(3, "accounts"), backup(2), dump(1, "shop", "accounts")]
    assert kept("last=1", *mixed) == ["4", "3", "2", "1"]
    assert kept("days=1.5", *mixed) == ["4", "3", "2", "1"], "the newest of each is never deleted"
    assert kept("wal_days=7", *mixed) == [each.backup_id for each in mixed]


def test_so_many_days_and_what_is_needed_to_reach_their_beginning() -> None:
    assert kept("days=3.5", *DAILY) == ["4", "3", "2", "1"]
    assert kept("days=3", *DAILY) == ["3", "2", "1"], "the third is just as old as the window"
    assert kept("days=30", *DAILY) == [each.backup_id for each in DAILY]
    (begins,) = (each for each in verdicts("days=3.5", *DAILY) if each.backup.backup_id == "4")
    assert begins.reasons == ["recovery to the beginning of the last 3.5 days starts from it"]


def test_either_rule_is_enough() -> None:
    assert kept("last=5 days=2", *DAILY) == ["5", "4", "3", "2", "1"]
    assert kept("last=1 days=2.5", *DAILY) == ["3", "2", "1"]


def test_every_class_is_counted_by_itself() -> None:
    mixed = [
        backup(20, "pre_migration"),
        backup(19, "manual"),
        *DAILY,
        backup(0.5, "pre_migration"),
        backup(0.4, "pre_migration"),
    ]
    assert kept("last=2", *mixed) == ["19", "2", "1", "0.5", "0.4"]
    assert kept("last=2,pre_migration=3,manual=0", *mixed) == ["20", "2", "1", "0.5", "0.4"]
    assert kept("days=pre_migration=25", *mixed) == [each.backup_id for each in mixed], "the others have no rule"
    assert kept("last=1 days=pre_migration=25", *mixed) == ["20", "19", "1", "0.5", "0.4"]


def test_the_last_good_one_is_never_deleted() -> None:
    assert kept("last=0", *DAILY) == ["1"]
    assert kept("days=0", *DAILY[:1]) == ["9"]
    assert kept("last=0", *DAILY, broken={"1": "packs are missing", "2": "packs are missing"}) == ["3"]


def test_one_with_damaged_pages_does_not_stand_for_the_last_good_one_alone() -> None:
    assert kept("last=1", *DAILY, backup(0.5, damaged_pages=1), backup(0.4, damaged_pages=3)) == ["1", "0.4"]


def test_what_cannot_be_restored_counts_for_nothing() -> None:
    broken = {"1": "packs are missing", "3": "packs are missing"}
    assert kept("last=2", *DAILY, broken=broken) == ["4", "3", "2", "1"]
    found = verdicts("last=2", *DAILY, broken={"8": "packs are missing"})
    assert found[1].reasons == ["there are 2 newer ones of the class scheduled", "packs are missing"]


def test_the_window_begins_with_one_that_can_be_restored() -> None:
    assert kept("days=3.5", *DAILY, broken={"4": "packs are missing"}) == ["5", "3", "2", "1"]


def test_a_running_backup_keeps_its_parent() -> None:
    assert kept("last=1", *DAILY, built_upon={"5": "the new one"}) == ["5", "1"]


def test_without_a_rule_everything_stays() -> None:
    assert len(kept("", *DAILY)) == len(DAILY)


def test_more_time_or_a_larger_number_never_keeps_less() -> None:
    choose = random.Random(5)
    for _ignored in range(200):
        ages = sorted((choose.uniform(0, 40) for _each in range(choose.randint(1, 12))), reverse=True)
        backups = [backup(age, choose.choice(CLASSES), damaged_pages=choose.choice([0, 0, 1])) for age in ages]
        broken = {each.backup_id: "broken" for each in backups if choose.random() < 0.2}
        last, days = choose.randint(0, 4), choose.uniform(0, 30)

        def keeps(policy: Policy, backups: list[Header] = backups, broken: dict[str, str] = broken) -> set[str]:
            found = judge(policy, backups, broken, {}, NOW)
            return {each.backup.backup_id for each in found if each.keep}

        less, more = Policy({"": last}, {"": days}), Policy({"": last + 1}, {"": days})
        assert keeps(less) <= keeps(more)
        good = [each for each in backups if each.backup_id not in broken]
        if good:
            assert good[-1].backup_id in keeps(less)
        reachable = [each for each in good if each.stop_time <= utc_text(NOW - timedelta(days=days))]
        assert not reachable or reachable[-1].backup_id in keeps(less)
