# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times as they are written: in UTC, sorting as they pass, and read back the same."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock, parse_utc, utc_text

MOMENTS = [
    datetime(1, 1, 1, tzinfo=timezone.utc),
    datetime(999, 12, 31, 23, 59, 59, 999999, timezone.utc),
    datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=2))),
    datetime(2026, 1, 1, tzinfo=timezone.utc),
    datetime(2026, 1, 1, 0, 0, 0, 1, timezone.utc),
]


@pytest.mark.parametrize("moment", MOMENTS[2:])
def test_a_time_is_read_back_as_it_was(moment: datetime) -> None:
    assert parse_utc(utc_text(moment)) == moment
    assert utc_text(moment).endswith("Z")


def test_texts_sort_as_the_times_pass() -> None:
    texts = [utc_text(moment) for moment in MOMENTS[2:]]
    assert texts == sorted(texts)


def test_the_real_clock_knows_its_zone() -> None:
    assert SystemClock().now().utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["2026-01-01T00:00:00.000000", "2026-01-01T00:00:00.000000+02:00", "soon", ""])
def test_what_is_no_time_in_utc_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_utc(text)
