# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people read of a job: the words, the live line on a terminal, a line per phase elsewhere."""

from __future__ import annotations

import io
import re

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import (
    Event,
    Finished,
    PhaseStarted,
    Progress,
    Warned,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.tee import Tee
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.terminal import TerminalSink
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.wording import (
    duration_text,
    event_text,
    size_text,
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and what a terminal would show of it."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        return [re.sub(r"\x1b\[K", "", line.rpartition("\r")[2]) for line in self.getvalue().split("\n")]


class Collected:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_960, "10 kB"),
        (412_345_678, "412 MB"),
        (999_600_000, "1.0 GB"),
        (1_234_567_890, "1.2 GB"),
        (10**13, "10 TB"),
        (5 * 10**18, "5000 PB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (7260, "2 h 1 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (PhaseStarted("copying files"), "copying files"),
        (PhaseStarted("copying files", "4 at once"), "copying files (4 at once)"),
        (Progress(412 * 10**6, 1_200_000_000), "copying  412 MB of 1.2 GB (34 %)"),
        (Progress(5_000_000, 0, "base/1/2"), "copying  5.0 MB  base/1/2"),
        (Warned("a file vanished"), "warning: a file vanished"),
        (Finished(True, "backup 7"), "backup 7"),
        (Finished(False, "no room"), "failed: no room"),
        (Warned("\x1b[2Jevil\n"), "warning: ?[2Jevil?"),
    ],
)
def test_events_in_words(event: Event, text: str) -> None:
    assert event_text(event, "copying") == text


def test_a_tee_gives_each_sink_every_event() -> None:
    one, other = Collected(), Collected()
    Tee(one, other).emit(Warned("x"))
    assert one.events == other.events == [Warned("x")]


def test_elsewhere_than_on_a_terminal_there_is_a_line_per_phase_and_no_progress() -> None:
    stream = io.StringIO()
    sink = TerminalSink(stream)
    for event in (PhaseStarted("one"), Progress(1, 2), Warned("w"), PhaseStarted("two"), Finished(True, "done")):
        sink.emit(event)
    assert stream.getvalue() == "one\nwarning: w\ntwo\ndone\n"


def test_on_a_terminal_one_line_lives_and_stays_in_its_last_state(clock: Clock) -> None:
    stream = Terminal()
    sink = TerminalSink(stream, clock)
    sink.emit(PhaseStarted("copying"))
    assert stream.screen() == ["copying"]
    sink.emit(Progress(0, 10**9))
    clock.sleep(2)
    sink.emit(Progress(200 * 10**6, 10**9))
    assert stream.screen() == ["copying  200 MB of 1.0 GB (20 %)  100 MB/s  8 s left"]
    sink.emit(Progress(10**9, 10**9))  # too soon to be painted, but the line's last state
    sink.emit(PhaseStarted("publishing"))
    sink.emit(Finished(True, "backup 7"))
    assert stream.screen() == ["copying  1.0 GB of 1.0 GB (100 %)  500 MB/s", "publishing", "backup 7", ""]


def test_what_an_interrupted_copy_had_before_does_not_count_as_speed(clock: Clock) -> None:
    stream = Terminal()
    sink = TerminalSink(stream, clock)
    sink.emit(PhaseStarted("copying"))
    sink.emit(Progress(900 * 10**6, 10**9))
    clock.sleep(10)
    sink.emit(Progress(910 * 10**6, 10**9))
    assert stream.screen() == ["copying  910 MB of 1.0 GB (91 %)  1.0 MB/s  1 min 30 s left"]


def test_a_terminal_that_went_away_is_no_error() -> None:
    stream = io.StringIO()
    sink = TerminalSink(stream)
    stream.close()
    sink.emit(PhaseStarted("one"))
