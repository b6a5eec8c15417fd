# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every store can do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol

from ..errors import IntegrityError, PreconditionError


@dataclass(frozen=True)
class ObjectInfo:
    """One stored object: its name relative to the store's root, and its size."""

    name: str
    size: int


@dataclass(frozen=True)
class Unfinished:
    """What a writer has begun and not committed: no object, but it takes space. Its writer may have died, or not."""

    name: str  # what it would have become
    token: str  # what the store itself calls it
    since: datetime  # when it was begun or, where the store knows, last written to


class ObjectWriter(Protocol):
    """Writes one object. It becomes visible, whole and durable, at `commit`, or never."""

    def write(self, data: bytes) -> None:
        """Append bytes."""

    def commit(self) -> None:
        """Make the object durable and visible; returns only when both hold."""

    def abort(self) -> None:
        """Forget everything written. Harmless after `commit`."""

    def __enter__(self) -> ObjectWriter: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Abort unless committed."""


class Store(Protocol):
    """Named immutable objects. Names are relative paths with `/`, no leading slash, no `..`."""

    url: str

    def create(self) -> None:
        """Make the place that objects go to, where making it is ours."""

    def writer(self, name: str) -> ObjectWriter:
        """Begin to write an object; an existing one of this name is replaced at commit."""

    def put(self, name: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Write a small object. With `if_absent` return False if the name is taken already."""

    def get(self, name: str) -> bytes:
        """The whole object. A missing one is an IntegrityError with code `object_missing`."""

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes from `offset`; fewer is an IntegrityError (`object_truncated`)."""

    def size(self, name: str) -> int | None:
        """The object's size, or None when it does not exist."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose name starts with the string `prefix`, sorted by name."""

    def delete(self, name: str, *, durably: bool = False) -> None:
        """Remove an object; a missing one is no error. `durably`: when this returns it does not come back."""

    def unfinished(self, folder: str) -> Iterator[Unfinished]:
        """What was begun below a folder (which ends in a slash) and not committed."""

    def discard(self, unfinished: Unfinished) -> None:
        """Give its space back. Its writer, if it lives, fails to commit."""


def missing(name: str, url: str) -> IntegrityError:
    """An object that must exist does not."""
    return IntegrityError(
        f"reading {name} in {url}",
        "the object does not exist.",
        "It was removed or never written; restore it from another copy of the repository.",
        code="object_missing",
        object=name,
    )


def truncated(name: str, url: str, offset: int, length: int, size: int | None) -> IntegrityError:
    """An object ends before the range that was asked of it."""
    return IntegrityError(
        f"reading {length} bytes at {offset} of {name} in {url}",
        f"the object has only {size} bytes.",
        "It was truncated; restore this object from another copy of the repository.",
        code="object_truncated",
        object=name,
    )


def checked_object_name(name: str, url: str) -> str:
    """The name, if it is one in every store: others could climb out of their place or vanish from listings."""
    if any(not part or part.startswith(".") for part in name.split("/")):
        raise PreconditionError(
            f"naming an object of {url}",
            f"{name!r} is not a valid object name.",
            "Names of stanzas and backups consist of letters, digits, '-', '_' and '.', not first a dot.",
            code="object_name_invalid",
        )
    return name
