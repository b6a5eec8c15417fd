# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes, durations and events in words."""

from __future__ import annotations

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import (
    EVENT_NAMES,
    Event,
    Finished,
    PhaseStarted,
    Progress,
    Warned,
    from_dict,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.wording import (
    duration_text,
    event_text,
    size_text,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (412_000_000, "412 MB"),
        (1_230_000_000, "1.2 GB"),
        (10**15, "1.0 PB"),
        (10**19, "10000 PB"),
    ],
)
def test_a_size(count: int, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3599.4, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (90_061, "25 h 1 min"),
    ],
)
def test_a_duration(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (PhaseStarted("copying"), "copying"),
        (PhaseStarted("copying", "base"), "copying (base)"),
        (Progress(500), "copying  500 B"),
        (Progress(500, 1000, "base/1"), "copying  500 B of 1.0 kB (50 %)  base/1"),
        (Progress(1000, 1000), "copying  1.0 kB of 1.0 kB (100 %)"),
        (Warned("odd"), "warning: odd"),
        (Finished(True, "done"), "done"),
        (Finished(False, "it broke"), "failed: it broke"),
        (Event(), ""),
    ],
)
def test_an_event(event: Event, text: str) -> None:
    assert event_text(event, "copying") == text


def test_no_name_of_a_file_commands_the_terminal() -> None:
    assert event_text(Warned("\x1b]0;owned\x07\r\n\u202egrüße\u2028")) == "warning: ?]0;owned???" + "?grüße?"


@pytest.mark.parametrize("event", [PhaseStarted("a", "b"), Progress(1, 2, "c"), Warned("d"), Finished(False, "e")])
def test_an_event_is_read_back_as_it_was(event: Event) -> None:
    assert from_dict(event.as_dict()) == event


def test_every_event_has_a_name_of_its_own() -> None:
    assert set(Event.__subclasses__()) == set(EVENT_NAMES)
    assert len(set(EVENT_NAMES.values())) == len(EVENT_NAMES)
