# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the last backup has of each file, found by walking through its manifest beside the directory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..clock import parse_utc
from ..postgres.data_directory import Entry
from ..repository.manifest import FileEntry, Header
from ..repository.stanza import Stanza


def _order(path: str) -> list[str]:
    """The order in which a data directory is walked: by name, a directory before what is in it."""
    return path.split("/")


def _seems_same(entry: Entry, known: FileEntry, started: str) -> bool:
    """Whether size and time say that a file has not changed since it was read.

    A file written in the same second as, or after, that backup's start could have changed again
    without its time showing it.
    """
    return (entry.size, entry.mtime_ns, entry.mode) == (
        known.size,
        known.mtime_ns,
        known.mode,
    ) and entry.mtime_ns // 10**9 < int(parse_utc(started).timestamp())


class Previous:
    """Answers for paths in walking order, reading the manifest once and keeping none of it.

    `trust_times` is False when a file's time proves nothing, as after a promotion.
    """

    def __init__(self, stanza: Stanza, header: Header, *, trust_times: bool) -> None:
        self.header = header
        self._trust_times = trust_times
        self._entries = self._files(stanza)
        self._next = next(self._entries, None)

    def _files(self, stanza: Stanza) -> Iterator[FileEntry]:
        for entry in stanza.entries(self.header.backup_id):
            if isinstance(entry, FileEntry) and entry.area == "data":
                yield entry

    def file(self, path: str) -> FileEntry | None:
        """The entry of this path; paths must be asked for in walking order."""
        wanted = _order(path)
        while self._next is not None and _order(self._next.path) < wanted:
            self._next = next(self._entries, None)
        return self._next if self._next is not None and self._next.path == path else None

    def seems_same(self, entry: Entry, known: FileEntry) -> bool:
        """Whether a file need not be read again."""
        return self._trust_times and _seems_same(entry, known, self.header.started)


class Resumed:
    """Files that an interrupted backup has finished reading, and whose packs are durable."""

    def __init__(self, finished: Iterable[tuple[str, FileEntry]]) -> None:
        """Each file with the time its backup began; a later one of the same path wins."""
        self._files = {entry.path: (started, entry) for started, entry in finished if entry.area == "data"}

    def file(self, entry: Entry) -> FileEntry | None:
        """What was read of this file, unless it has changed since."""
        started, known = self._files.get(entry.path, ("", None))
        return known if known is not None and _seems_same(entry, known, started) else None
