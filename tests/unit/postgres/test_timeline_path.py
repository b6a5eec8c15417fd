# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way that WAL takes to each timeline."""

from __future__ import annotations

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres import timeline_path
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.timeline_path import Leg

MEGABYTE = 1 << 20
# as PostgreSQL writes it: the whole ancestry, a tab between, the reason in words
HISTORY = b'1\t0/500000\tbefore 2026-11-21 14:30:00.123456+01\n\n3\t0/A00000\tat restore point "x y"\n'


def test_a_history_is_the_way_to_its_timeline() -> None:
    path = timeline_path.path_to(4, HISTORY)
    assert path.legs == (
        Leg(1, 0, 5 * MEGABYTE),
        Leg(3, 5 * MEGABYTE, 10 * MEGABYTE),
        Leg(4, 10 * MEGABYTE),
    )
    assert (path.timeline, path.timelines) == (4, [1, 3, 4])


def test_what_was_written_behind_the_point_where_a_timeline_was_left_is_on_no_way() -> None:
    path = timeline_path.path_to(4, HISTORY)
    assert path.passes(1, 5 * MEGABYTE) and not path.passes(1, 5 * MEGABYTE + 1)
    assert path.passes(3, 10 * MEGABYTE) and not path.passes(3, 10 * MEGABYTE + 1)
    assert path.passes(4, 1 << 60)
    assert not path.passes(2, 1)


def test_the_segment_in_which_a_timeline_was_left_is_its_childs() -> None:
    path = timeline_path.path_to(2, b"1\t0/580000\tno reason\n")
    found = {number: path.segment(number, MEGABYTE).timeline for number in (0, 4, 5, 6)}
    assert found == {0: 1, 4: 1, 5: 2, 6: 2}


def test_a_recovery_may_stop_before_the_timeline_that_it_goes_to_has_begun() -> None:
    """PostgreSQL names that timeline as the parent all the same; nothing of it is on the way."""
    path = timeline_path.path_to(3, b"1\t0/500000\tx\n2\t0/300000\tx\n")
    assert path.legs == (Leg(1, 0, 3 * MEGABYTE), Leg(3, 3 * MEGABYTE))
    assert not path.passes(2, 6 * MEGABYTE) and not path.passes(1, 4 * MEGABYTE)
    path = timeline_path.path_to(5, b"1\t0/500000\tx\n2\t0/700000\tx\n3\t0/900000\tx\n4\t0/100000\tx\n")
    assert path.legs == (Leg(1, 0, MEGABYTE), Leg(5, MEGABYTE))
    path = timeline_path.path_to(4, b"1\t0/500000\tx\n2\t0/300000\tx\n3\t0/800000\tx\n")
    assert path.legs == (Leg(1, 0, 3 * MEGABYTE), Leg(3, 3 * MEGABYTE, 8 * MEGABYTE), Leg(4, 8 * MEGABYTE))


@pytest.mark.parametrize("content", [b"4\t0/500000\tx\n", b"2\t0/1\tx\n1\t0/2\tx\n"])
def test_what_is_no_history_is_refused(content: bytes) -> None:
    with expect.failure("timeline_history_invalid"):
        timeline_path.path_to(4, content)


def test_the_first_timeline_has_no_history() -> None:
    assert timeline_path.first().legs == (Leg(1, 0),)
    assert timeline_path.newest([timeline_path.first(), timeline_path.path_to(4, HISTORY)]).timeline == 4
