# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets as users write them: which instant, which record."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore.target_text import (
    TargetText,
    parse_time,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.recovery_settings import (
    Action,
    RecoveryTarget,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=timezone.utc)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-21T14:30:00+01:00", utc(2026, 11, 21, 13, 30)),
        ("2026-11-21 14:30:00 +01:00", utc(2026, 11, 21, 13, 30)),
        ("2026-11-21T14:30+01", utc(2026, 11, 21, 13, 30)),
        ("2026-11-21T14+0100", utc(2026, 11, 21, 13)),
        ("20261121T143000Z", utc(2026, 11, 21, 14, 30)),
        ("2026-11-21t14:30:00z", utc(2026, 11, 21, 14, 30)),
        ("2026-11-21 14:30:00 UTC", utc(2026, 11, 21, 14, 30)),
        ("2026-11-21T14:30:00.5Z", utc(2026, 11, 21, 14, 30, 0, 500000)),
        ("2026-11-21T14:30:00,123456789Z", utc(2026, 11, 21, 14, 30, 0, 123456)),
        ("2026-11-21T24:00Z", utc(2026, 11, 22)),
        ("2026-W47-6T14:30Z", utc(2026, 11, 21, 14, 30)),
        ("2026-325T14:30Z", utc(2026, 11, 21, 14, 30)),
        ("2026-11-21T14:30:00-03:30", utc(2026, 11, 21, 18)),
        ("2026-11-21 14:30 Europe/Berlin", utc(2026, 11, 21, 13, 30)),
        ("2026-07-21 14:30 Europe/Berlin", utc(2026, 7, 21, 12, 30)),
        ("2026-11-21 14:30 America/New_York", utc(2026, 11, 21, 19, 30)),
        # the hour that clocks show twice, told apart by its offset; and those around it
        ("2026-10-25T02:30+02:00", utc(2026, 10, 25, 0, 30)),
        ("2026-10-25T02:30+01:00", utc(2026, 10, 25, 1, 30)),
        ("2026-10-25 01:59:59 Europe/Berlin", utc(2026, 10, 24, 23, 59, 59)),
        ("2026-10-25 03:00 Europe/Berlin", utc(2026, 10, 25, 2)),
        ("2026-03-29 01:59 Europe/Berlin", utc(2026, 3, 29, 0, 59)),
        ("2026-03-29 03:00 Europe/Berlin", utc(2026, 3, 29, 1)),
        (" 2 hours ago ", NOW - timedelta(hours=2)),
        ("an hour ago", NOW - timedelta(hours=1)),
        ("1.5 Days ago", NOW - timedelta(hours=36)),
        ("90 seconds ago", NOW - timedelta(seconds=90)),
    ],
)
def test_the_instant_that_is_meant(text: str, instant: datetime) -> None:
    assert parse_time(text, NOW) == instant


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T14:30:00",  # where?
        "2026-11-21",
        "yesterday 14:30",
        "14:30Z",
        "2026-02-30T14:30Z",
        "2026-11-21T25:00Z",
        "2026-11-21T14:61Z",
        "2026-11-21T14:30+99:00",
        "2026-W54-1T00:00Z",
        "2026-366T00:00Z",
        "2026-11-21 14:30 Mars/Olympus",
        "2026-11-21 14:30 CET",  # three letters are many zones
        "-2 hours ago",
        "",
    ],
)
def test_what_names_no_instant_is_refused(text: str) -> None:
    with expect.failure("target_time_invalid") as refusal:
        parse_time(text, NOW)
    assert "2026-11-21T14:30:00+01:00" in refusal.value.remedy


@pytest.mark.parametrize(
    ("text", "how"),
    [("2026-10-25 02:30 Europe/Berlin", "twice"), ("2026-03-29 02:30 Europe/Berlin", "never")],
)
def test_an_hour_that_clocks_show_twice_or_never_is_refused_with_both_instants(text: str, how: str) -> None:
    with expect.failure("target_time_invalid") as refusal:
        parse_time(text, NOW)
    assert how in refusal.value.happened
    for offset in ("+02:00", "+01:00"):
        assert f"02:30:00{offset}" in refusal.value.happened


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ({}, RecoveryTarget()),
        ({"lsn": "1/16B3748"}, RecoveryTarget(lsn=(1 << 32) + 0x16B3748)),
        ({"xid": "755", "inclusive": False}, RecoveryTarget(xid=755, inclusive=False)),
        ({"name": "before 42", "action": "pause"}, RecoveryTarget(name="before 42", action=Action.PAUSE)),
        ({"immediate": True, "timeline": "current"}, RecoveryTarget(immediate=True, timeline="current")),
        ({"timeline": "12"}, RecoveryTarget(timeline=12)),
    ],
)
def test_other_targets(written: dict[str, Any], target: RecoveryTarget) -> None:
    assert TargetText(**written).parse(NOW) == target
    assert target.describe()


@pytest.mark.parametrize(
    "written",
    [
        {"lsn": "0/1", "xid": "755"},
        {"xid": "755", "immediate": True},
        {"xid": "two"},
        {"xid": "2"},
        {"name": ""},
        {"name": "x" * 64},
        {"name": "here", "inclusive": False},
        {"inclusive": False},
        {"action": "pause"},
        {"timeline": "0"},
        {"timeline": "newest"},
    ],
)
def test_what_makes_no_sense_is_refused(written: dict[str, Any]) -> None:
    with expect.failure("target_invalid"):
        TargetText(**written).parse(NOW)
