# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-ins for what the engine meets outside: time, a store, a sink."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from types import TracebackType

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import IntegrityError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import Event
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.base import (
    ObjectInfo,
    Unfinished,
    missing,
)


class SteppedClock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, timezone.utc)

    def monotonic(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class Collector:
    """A sink that keeps every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)


class MemoryStore:
    """A store that forgets everything. The tests in store/ hold it to what a real one promises."""

    url = "memory"

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def create(self) -> None:
        """Nothing to make."""

    def writer(self, name: str) -> MemoryWriter:
        return MemoryWriter(self.objects, name)

    def put(self, name: str, data: bytes, *, if_absent: bool = False) -> bool:
        if if_absent and name in self.objects:
            return False
        self.objects[name] = bytes(data)
        return True

    def get(self, name: str) -> bytes:
        try:
            return self.objects[name]
        except KeyError:
            raise missing(name, self.url) from None

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        data = self.get(name)[offset : offset + length]
        if len(data) != length:
            raise IntegrityError("reading", "it is too short.", "Mend it.", code="object_truncated", object=name)
        return data

    def size(self, name: str) -> int | None:
        return len(self.objects[name]) if name in self.objects else None

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        for name in sorted(self.objects):
            if name.startswith(prefix):
                yield ObjectInfo(name, len(self.objects[name]))

    def delete(self, name: str, *, durably: bool = False) -> None:
        self.objects.pop(name, None)

    def unfinished(self, folder: str) -> Iterator[Unfinished]:
        yield from ()

    def discard(self, unfinished: Unfinished) -> None:
        """Nothing is ever unfinished."""


class MemoryWriter:
    """Keeps bytes to itself until they are committed."""

    def __init__(self, objects: dict[str, bytes], name: str) -> None:
        self._objects = objects
        self._name = name
        self._data = bytearray()

    def write(self, data: bytes) -> None:
        self._data += data

    def commit(self) -> None:
        self._objects[self._name] = bytes(self._data)

    def abort(self) -> None:
        self._data.clear()

    def __enter__(self) -> MemoryWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()
