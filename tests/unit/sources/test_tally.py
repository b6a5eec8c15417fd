# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counting bytes: what the sink hears, and that a rate is held."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import Progress
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.tally import ByteTally
from fakes import Collector, SteppedClock


@pytest.fixture
def stepped() -> SteppedClock:
    return SteppedClock()


def test_the_sink_hears_of_every_byte_and_the_total_grows_with_what_is_found() -> None:
    sink = Collector()
    tally = ByteTally(sink, 100)
    tally.add(60)
    tally.skip(30)
    tally.add(60)
    assert sink.events == [Progress(60, 100), Progress(90, 100), Progress(150, 150)]
    assert tally.done == 150


def test_without_a_rate_nobody_waits(stepped: SteppedClock) -> None:
    began = stepped.monotonic()
    ByteTally(Collector(), 0, None, stepped).add(1 << 40)
    assert stepped.monotonic() == began


def test_no_more_is_read_than_the_rate_allows(stepped: SteppedClock) -> None:
    began = stepped.monotonic()
    tally = ByteTally(Collector(), 0, 1000.0, stepped)
    for count in (1, 4000, 999, 5000):
        tally.add(count)
        assert tally.done <= 1000.0 * (stepped.monotonic() - began) + 1e-6
    assert stepped.monotonic() - began == pytest.approx(10.0)


def test_time_in_which_nothing_was_read_may_be_made_up_for(stepped: SteppedClock) -> None:
    tally = ByteTally(Collector(), 0, 1000.0, stepped)
    stepped.sleep(7.0)
    before = stepped.monotonic()
    tally.add(6000)
    assert stepped.monotonic() == before
    tally.add(2000)
    assert stepped.monotonic() == before + 1.0


def test_what_nobody_had_to_read_takes_no_time(stepped: SteppedClock) -> None:
    began = stepped.monotonic()
    tally = ByteTally(Collector(), 0, 1000.0, stepped)
    tally.skip(1 << 40)
    assert stepped.monotonic() == began
    tally.add(3000)
    assert stepped.monotonic() - began == pytest.approx(3.0, abs=0.01)


def test_the_rate_is_that_of_all_workers_together(stepped: SteppedClock) -> None:
    began = stepped.monotonic()
    tally = ByteTally(Collector(), 0, 1000.0, stepped)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(tally.add, [1000] * 8))
    assert tally.done == 8000
    assert stepped.monotonic() - began >= 8.0
