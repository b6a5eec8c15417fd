# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies are read as they are meant, and what cannot be meant is refused."""

from __future__ import annotations

from datetime import timedelta

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.retention_policy import Policy, parse


def test_nothing_said_is_no_rule() -> None:
    assert parse({}) == parse({"keep_last": "", "keep_days": " , ", "url": "/x"}) == Policy()
    assert not Policy().expires_something


def test_a_number_is_for_every_class_without_an_entry_of_its_own() -> None:
    policy = parse({"keep_last": "7, pre_migration=2,manual = 0", "keep_days": "pre_restore=0.5"})
    assert [policy.last_of(name) for name in ("scheduled", "pre_migration", "manual")] == [7, 2, 0]
    assert (policy.days_of("pre_restore"), policy.days_of("manual"), policy.window) == (0.5, None, None)
    assert policy.expires_something


def test_times_are_in_the_units_of_their_names() -> None:
    policy = parse({"keep_days": "14", "keep_wal_days": "2.5", "grace_hours": "0"})
    assert (policy.window, policy.keep_wal_days, policy.grace) == (14, 2.5, timedelta(0))
    assert parse({"grace_hours": "36"}).grace == timedelta(hours=36)


@pytest.mark.parametrize(
    "values",
    [
        {"keep_last": "all"},
        {"keep_last": "-1"},
        {"keep_last": "1.5"},
        {"keep_last": "²"},
        {"keep_last": "pre_migraton=2"},
        {"keep_last": "2, 3"},
        {"keep_last": "manual=2, manual=3"},
        {"keep_last": "=2"},
        {"keep_days": "nan"},
        {"keep_days": "inf"},
        {"keep_days": "1e300"},
        {"keep_wal_days": "-0.1"},
        {"grace_hours": "soon"},
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(values: dict[str, str]) -> None:
    with expect.failure("setting_invalid") as failure:
        parse(values)
    assert next(iter(values)) in failure.value.message
