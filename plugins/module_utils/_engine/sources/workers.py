# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A few threads that take work from one bounded queue and stop together.

The first failure stops everybody, and is what the caller sees. Threads are enough: zstd, SHA-256
and reads and writes release the interpreter's lock.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
# What a worker does with an item, and what it does at the end.
Worker = tuple[Callable[[Item], None], Callable[[], None]]
_QUEUE_LENGTH = 256
_POLL_SECONDS = 0.2


class _Crew(Generic[Item]):
    def __init__(self) -> None:
        self.items: queue.Queue[Item | None] = queue.Queue(_QUEUE_LENGTH)
        self.failed = threading.Event()
        self.errors: list[BaseException] = []

    def work(self, handle: Callable[[Item], None], finish: Callable[[], None]) -> None:
        try:
            while (item := self.items.get()) is not None:
                if not self.failed.is_set():
                    handle(item)
            if not self.failed.is_set():
                finish()
        except BaseException as exc:  # reported by the caller's thread, whatever it is
            self.errors.append(exc)
            self.failed.set()

    def put(self, item: Item | None) -> bool:
        """Queue an item; False once somebody has failed."""
        while not self.failed.is_set():
            try:
                self.items.put(item, timeout=_POLL_SECONDS)
                return True
            except queue.Full:
                continue
        return False


def run(items: Iterable[Item], workers: Sequence[Worker[Item]]) -> None:
    """Give each item to one of the workers, then let each finish; raise the first failure.

    Returns when all threads have ended, so that nothing is still being written afterwards.
    """
    crew: _Crew[Item] = _Crew()
    threads = [threading.Thread(target=crew.work, args=worker, daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        for item in items:
            if not crew.put(item):
                break
    except BaseException:
        crew.failed.set()
        raise
    finally:
        for _thread in threads:
            crew.put(None)
        if crew.failed.is_set():  # the queue may be full of items nobody wants: empty it for the end marks
            _drain(crew, len(threads))
        for thread in threads:
            thread.join()
    if crew.errors:
        raise crew.errors[0]


def _drain(crew: _Crew[Item], threads: int) -> None:
    with crew.items.mutex:
        crew.items.queue.clear()
        crew.items.not_full.notify_all()
    for _number in range(threads):
        crew.items.put(None)
