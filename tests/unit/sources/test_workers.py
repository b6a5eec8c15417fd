# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A crew of threads: every item once, the first failure for all, and nobody at work when it is over."""

from __future__ import annotations

import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources import workers
from harness import wait_until

MORE_THAN_THE_QUEUE_HOLDS = 10_000


@pytest.fixture(autouse=True)
def nobody_is_left_at_work() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def ignore(item: int) -> None:
    """Handle an item."""


def nothing() -> None:
    """For workers without an end."""


def crew(count: int, handle: Callable[[int], None], finish: Callable[[], None] = nothing) -> list[workers.Worker[int]]:
    return [(handle, finish)] * count


def test_every_item_is_handled_once_and_every_worker_finishes() -> None:
    handled: list[int] = []
    finished: list[int] = []
    workers.run(range(MORE_THAN_THE_QUEUE_HOLDS), crew(4, handled.append, lambda: finished.append(len(handled))))
    assert sorted(handled) == list(range(MORE_THAN_THE_QUEUE_HOLDS))
    assert len(finished) == 4


def test_without_items_the_workers_finish_all_the_same() -> None:
    finished: list[bool] = []
    workers.run([], crew(3, ignore, lambda: finished.append(True)))
    assert finished == [True] * 3


def test_with_nobody_to_work_there_is_no_success() -> None:
    with expect.failure("setting_invalid"):
        workers.run([1], [])


@pytest.mark.parametrize("items", [1, MORE_THAN_THE_QUEUE_HOLDS])
def test_a_failure_stops_everybody_and_is_what_the_caller_sees(items: int) -> None:
    finished: list[bool] = []
    handled: list[int] = []

    def fail(item: int) -> None:
        handled.append(item)
        raise ValueError(item)

    with pytest.raises(ValueError, match=r"^\d+$"):
        workers.run(range(items), crew(3, fail, lambda: finished.append(True)))
    assert finished == []
    assert len(handled) <= 3


def test_the_first_failure_is_seen_not_the_last() -> None:
    first_has_failed = threading.Event()

    def first(item: int) -> None:
        first_has_failed.set()
        raise ValueError("first")

    def second(item: int) -> None:
        first_has_failed.wait()
        raise ValueError("second")

    def both_are_busy() -> Iterator[int]:
        yield from (1, 2)

    both: list[workers.Worker[int]] = [(first, nothing), (second, nothing)]
    with pytest.raises(ValueError, match="first"):
        workers.run(both_are_busy(), both)


def test_a_failure_while_finishing_is_seen() -> None:
    def fail() -> None:
        raise ValueError("at the end")

    with pytest.raises(ValueError, match="at the end"):
        workers.run(range(3), [(ignore, nothing), (ignore, fail)])


def test_items_that_cannot_be_had_stop_the_workers() -> None:
    finished: list[bool] = []

    def items() -> Iterator[int]:
        yield from range(MORE_THAN_THE_QUEUE_HOLDS)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        workers.run(items(), crew(3, ignore, lambda: finished.append(True)))
    assert finished == []


def test_no_item_is_asked_for_when_nobody_works_any_more() -> None:
    asked: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            asked.append(len(asked))
            yield asked[-1]

    def fail(item: int) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        workers.run(endless(), crew(2, fail))


def test_a_signal_that_strikes_while_waiting_ends_all_work_first() -> None:
    class Stop(Exception):
        """What the signal becomes."""

    main = threading.main_thread().ident or 0
    at_work: list[str] = []
    stopped = threading.Event()

    def handle(item: int) -> None:
        at_work.append("begun")
        wait_until(lambda: "end" in functions_of(main), "the main thread waits for the end")
        signal.pthread_kill(main, signal.SIGUSR1)
        stopped.wait()
        at_work.append("ended")

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()
        raise Stop

    previous = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(Stop):
            workers.run([1], crew(2, handle))
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert at_work == ["begun", "ended"]


def functions_of(thread: int) -> set[str]:
    """The names of the functions that a thread is in."""
    frame, names = sys._current_frames()[thread], set()
    while frame is not None:
        names.add(frame.f_code.co_name)
        frame = frame.f_back
    return names


def test_the_largest_of_the_next_thousand_comes_first() -> None:
    choose = random.Random(4)
    items = [choose.randrange(100) for _ignored in range(3000)]
    asked = 0

    def counted() -> Iterator[int]:
        nonlocal asked
        for item in items:
            asked += 1
            yield item

    ordered = workers.largest_first(counted(), lambda item: item)
    first = next(ordered)
    assert asked < 1100, "not all of them are held in memory"
    assert first == max(items[:asked])
    rest = list(ordered)
    assert sorted([first, *rest]) == sorted(items)
    assert rest[-1000:] == sorted(rest[-1000:], reverse=True)
