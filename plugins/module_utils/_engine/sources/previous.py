# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the last backup has of each file, found by walking through its manifest beside the directory."""

from __future__ import annotations

from collections.abc import Iterator

from ..clock import parse_utc
from ..postgres.data_directory import Entry
from ..repository.manifest import FileEntry, Header
from ..repository.stanza import Stanza


def _order(path: str) -> list[str]:
    """The order in which a data directory is walked: by name, a directory before what is in it."""
    return path.split("/")


class Previous:
    """Answers for paths in walking order, reading the manifest once and keeping none of it."""

    def __init__(self, stanza: Stanza, header: Header) -> None:
        self.header = header
        self._started_second = int(parse_utc(header.started).timestamp())
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
        """Whether size and time say that a file has not changed since.

        A file written in the same second as, or after, that backup's start could have changed
        again without its time showing it.
        """
        return (entry.size, entry.mtime_ns, entry.mode) == (
            known.size,
            known.mtime_ns,
            known.mode,
        ) and entry.mtime_ns // 10**9 < self._started_second
