# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the last backup has of each file, found in any order.

A stream brings files in whatever order the server finds them. The last manifest is put on disk
once, by path, so that memory stays bounded whatever its length; the same table puts the new
manifest's lines into the order that a manifest must have (entry_spool.py).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator

from ..errors import StorageError
from ..repository.manifest import Entry, FileEntry, parse_entry, render_entry

_CACHE_KIB = 8192
_SETTINGS = f"""
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA cache_size = -{_CACHE_KIB};
CREATE TABLE known (place BLOB PRIMARY KEY, line BLOB) WITHOUT ROWID;
CREATE TABLE arrived (place BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID;
"""


def place(path: str) -> bytes:
    """A key that sorts as a data directory is walked: by name, a directory before what is in it."""
    return path.replace("/", "\0").encode("utf-8", "surrogatepass")


class PathIndex:
    """A temporary table without a name, for one thread. Use it as a context manager."""

    def __init__(self) -> None:
        with _explained():
            self._table = sqlite3.connect("", isolation_level=None)
            self._table.executescript(_SETTINGS)
            self._table.execute("BEGIN")
        self._count = 0

    def know(self, entries: Iterable[Entry]) -> None:
        """Remember files; a later one of the same path wins."""
        rows = (
            (place(entry.path), render_entry(entry))
            for entry in entries
            if isinstance(entry, FileEntry) and entry.area == "data"
        )
        with _explained():
            self._table.executemany("INSERT OR REPLACE INTO known VALUES (?, ?)", rows)

    def file(self, path: str) -> FileEntry | None:
        """What is known of a path."""
        with _explained():
            found = self._table.execute("SELECT line FROM known WHERE place = ?", (place(path),)).fetchone()
        entry = parse_entry(found[0]) if found else None
        return entry if isinstance(entry, FileEntry) else None

    def arrive(self, path: str) -> int:
        """A number for something that has come; of two with the same path the later one counts."""
        self._count += 1
        with _explained():
            self._table.execute("INSERT OR REPLACE INTO arrived VALUES (?, ?)", (place(path), self._count))
        return self._count

    def in_order(self) -> Iterator[int]:
        """The numbers of everything that has come, in walking order."""
        with _explained():
            for (number,) in self._table.execute("SELECT number FROM arrived ORDER BY place"):
                yield number

    def __enter__(self) -> PathIndex:
        return self

    def __exit__(self, *exception: object) -> None:
        """Give the disk space back."""
        self._table.close()


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """The table's own errors are about the temporary directory: it is full, or not writable."""
    try:
        yield
    except sqlite3.Error as exc:
        raise StorageError(
            "keeping the list of files in a temporary file",
            f"{exc}.",
            "Free space in the temporary directory (TMPDIR), or name another one.",
            code="temporary_space_exhausted",
        ) from exc
