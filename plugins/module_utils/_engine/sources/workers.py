# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A few threads that take work from one bounded queue and stop together.

The first failure stops everybody, and is what the caller sees. Threads are enough: zstd, SHA-256
and reads and writes release the interpreter's lock.
"""

from __future__ import annotations

import heapq
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from ..errors import PreconditionError

Item = TypeVar("Item")
# What a worker does with an item, and what it does at the end.
Worker = tuple[Callable[[Item], None], Callable[[], None]]
_QUEUE_LENGTH = 256
_LOOKED_AHEAD = 1000
_POLL_SECONDS = 0.2


class _Crew(Generic[Item]):
    def __init__(self, workers: Sequence[Worker[Item]], failed: threading.Event) -> None:
        self.items: queue.Queue[Item | None] = queue.Queue(_QUEUE_LENGTH)
        self.failed = failed
        self.errors: list[BaseException] = []
        self.ended = [threading.Event() for _worker in workers]
        self.threads = [
            threading.Thread(target=self.work, args=(*worker, ended), daemon=True)
            for worker, ended in zip(workers, self.ended)
        ]

    def work(self, handle: Callable[[Item], None], finish: Callable[[], None], ended: threading.Event) -> None:
        try:
            while (item := self.items.get()) is not None:
                if not self.failed.is_set():
                    handle(item)
            if not self.failed.is_set():
                finish()
        except BaseException as exc:  # reported by the caller's thread, whatever it is
            self.errors.append(exc)
            self.failed.set()
        finally:
            ended.set()

    def put(self, item: Item | None) -> bool:
        """Queue an item; False once somebody has failed."""
        while not self.failed.is_set():
            try:
                self.items.put(item, timeout=_POLL_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def end(self) -> None:
        """Let every thread come to its end, and wait for that."""
        for _thread in self.threads:
            self.put(None)
        if self.failed.is_set():  # the queue may be full of items nobody wants: empty it for the end marks
            with self.items.mutex:
                self.items.queue.clear()
                self.items.not_full.notify_all()
            for _thread in self.threads:
                self.items.put(None)
        # An exception that a signal raises inside a thread's own `join` makes Python (up to 3.12) take
        # the thread for ended, so that is not what is waited for.
        for ended in self.ended:
            while not ended.wait(_POLL_SECONDS):  # in steps: a signal just before would wait for the end, too
                pass
        for thread in self.threads:
            thread.join()


def require_some(count: int) -> None:
    """Refuse to work with nobody: nothing would be done, and nothing would seem to be wrong."""
    if count < 1:
        raise PreconditionError(
            "dividing the work among workers",
            f"there shall be {count} of them.",
            "Set jobs to 1 or more.",
            code="setting_invalid",
        )


def largest_first(items: Iterable[Item], size: Callable[[Item], int]) -> Iterator[Item]:
    """The largest of the next thousand each time: else the last may be a large one that all but one worker wait for."""
    waiting: list[tuple[int, int, Item]] = []
    for number, item in enumerate(items):
        heapq.heappush(waiting, (-size(item), number, item))
        if len(waiting) > _LOOKED_AHEAD:
            yield heapq.heappop(waiting)[-1]
    while waiting:
        yield heapq.heappop(waiting)[-1]


def run(items: Iterable[Item], workers: Sequence[Worker[Item]], failed: threading.Event | None = None) -> None:
    """Give each item to one of the workers, then let each finish; raise the first failure.

    Returns when all threads have ended, so that nothing is still being written afterwards. `failed`
    is set when somebody has failed, for items that must know it while workers are busy with them.
    """
    require_some(len(workers))
    crew: _Crew[Item] = _Crew(workers, failed or threading.Event())
    for thread in crew.threads:
        thread.start()
    try:
        for item in items:
            if not crew.put(item):
                break
        crew.end()
    except BaseException:  # by the items, or by a signal that struck here
        crew.failed.set()
        crew.end()
        raise
    if crew.errors:
        raise crew.errors[0]
