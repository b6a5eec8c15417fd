# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Phases end where the next begins."""

from __future__ import annotations

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import (
    PhaseStarted,
    Progress,
    Warned,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.phases import PhaseTime, PhaseTimer
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.tee import Tee
from fakes import Collector


def test_each_phase_lasts_until_the_next(clock: Clock) -> None:
    sink = Collector()
    timer = PhaseTimer(sink, clock)
    events = [PhaseStarted("one"), Progress(1), PhaseStarted("two"), Warned("x"), PhaseStarted("one")]
    for event in events:
        timer.emit(event)
        clock.sleep(1.5)
    assert timer.times() == [PhaseTime("one", 3.0), PhaseTime("two", 3.0), PhaseTime("one", 1.5)]
    assert sink.events == events


def test_without_phases_there_are_no_times(clock: Clock) -> None:
    assert PhaseTimer(Collector(), clock).times() == []


def test_every_sink_hears_of_every_event() -> None:
    sinks = Collector(), Collector()
    tee = Tee(*sinks)
    tee.emit(Warned("x"))
    assert [sink.events for sink in sinks] == [[Warned("x")]] * 2
