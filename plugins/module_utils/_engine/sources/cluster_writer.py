# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a backup's files into a directory, in parallel, every byte verified.

`pg_control` is not written here: whoever calls writes it last, when nothing can start the
directory by mistake any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..checksums import FileChecksum, file_checksum
from ..errors import LifeboatError, StorageError
from ..postgres.pg_manifest import ManifestFile
from ..repository.manifest import FileEntry
from . import workers
from .content import window
from .file_reader import WINDOW_BYTES, FileReader
from .file_update import update_file
from .new_file import NewFile, WriteBehind
from .tally import ByteTally


@dataclass(frozen=True)
class Destination:
    """Where a file of the backup goes. With `keeps_equal` content that is there already stays."""

    entry: FileEntry
    path: Path
    keeps_equal: bool = False


class _Worker:
    """Writes one file after another, all through the same memory."""

    def __init__(self, reader: FileReader, tally: ByteTally) -> None:
        self._reader = reader
        self._tally = tally
        self._behind = WriteBehind()
        self._window = memoryview(b"")  # made for the first file that may be there already

    def write(self, destination: Destination) -> ManifestFile:
        """Write one file; returns what PostgreSQL's manifest will say of it."""
        entry = destination.entry
        try:
            checksum = self._updated(destination) if destination.keeps_equal else None
            if checksum is None:
                checksum = self._written(destination)
        except OSError as exc:
            raise write_error(destination.path, exc) from exc
        return ManifestFile(entry.path, entry.size, entry.mtime_ns, checksum.algorithm, checksum.hexdigest())

    def end(self) -> None:
        """No more files come."""
        self._behind.end()

    def _updated(self, destination: Destination) -> FileChecksum | None:
        checksum = file_checksum()
        self._window = self._window or window(WINDOW_BYTES)
        path, entry = destination.path, destination.entry
        done = update_file(path, entry, self._reader, self._window, checksum, self._tally)
        return checksum if done else None

    def _written(self, destination: Destination) -> FileChecksum:
        checksum = file_checksum()
        entry = destination.entry
        with NewFile(destination.path, entry.mode, entry.size, self._behind) as file:
            for piece in self._reader.pieces(entry):
                checksum.update(piece)
                file.write(piece)
                self._tally.add(len(piece))
        return checksum


def write_error(path: Path, exc: OSError) -> LifeboatError:
    """A restore could not write; the directory stays marked as unfinished."""
    return StorageError(
        f"restoring {path}",
        f"{exc.strerror}: {exc.filename or path}.",
        "Make room or give permission, then run the same restore again: it goes on in this directory.",
        code="restore_write_failed",
    )


def write_files(destinations: Iterable[Destination], readers: list[FileReader], tally: ByteTally) -> list[ManifestFile]:
    """Write every file with one worker per reader. The caller makes them durable."""
    written: list[ManifestFile] = []  # appending to a list is atomic

    writers = [_Worker(reader, tally) for reader in readers]

    def worker(writer: _Worker) -> workers.Worker[Destination]:
        return (lambda destination: written.append(writer.write(destination))), (lambda: None)

    ordered = workers.largest_first(destinations, lambda destination: destination.entry.size)
    try:
        workers.run(ordered, [worker(writer) for writer in writers])
    finally:
        for writer in writers:
            writer.end()
    return written
