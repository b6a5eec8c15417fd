# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How WAL leaves its server, as users write it down."""

from __future__ import annotations

from pathlib import Path

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.receive_settings import (
    ReceiveSpec,
    parse,
)


def test_what_is_left_out_has_the_usual_value() -> None:
    assert parse("Main one", {}) == ReceiveSpec("archive", "lifeboat_main_one", Path("/var/lib/lifeboat/Main one"), 5.0)


def test_everything_given() -> None:
    given = {"wal_method": "both", "slot": "a", "partial_interval": "0.5", "spool": "/s", "synchronous": "True"}
    assert parse("main", given) == ReceiveSpec("both", "a", Path("/s"), 0.5, synchronous=True)


def test_an_interval_of_nothing_ships_finished_segments_only() -> None:
    assert parse("main", {"partial_interval": "0"}).partial_interval is None


@pytest.mark.parametrize(("method", "archives", "streams"), [("archive", 1, 0), ("stream", 0, 1), ("both", 1, 1)])
def test_both_ways_are_both(method: str, archives: int, streams: int) -> None:
    spec = parse("main", {"wal_method": method})
    assert (spec.archives, spec.streams) == (archives, streams)


@pytest.mark.parametrize(
    "given",
    [
        {"wal_method": "pull"},
        {"slot": "Upper"},
        {"slot": "a" * 64},
        {"spool": "here"},
        {"partial_interval": "soon"},
        {"partial_interval": "nan"},
        {"partial_interval": "-1"},
        {"synchronous": "perhaps"},
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, str]) -> None:
    with expect.failure("setting_invalid"):
        parse("main", given)


def test_a_long_name_still_makes_a_slot() -> None:
    assert len(parse("x" * 200, {}).slot) == 63
