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

from ..checksums import file_checksum
from ..errors import LifeboatError, StorageError
from ..postgres.pg_manifest import ManifestFile
from ..repository.manifest import FileEntry
from . import workers
from .file_reader import FileReader
from .file_update import update_file
from .new_file import NewFile, WriteBuffer
from .tally import ByteTally


@dataclass(frozen=True)
class Destination:
    """Where a file of the backup goes. With `keeps_equal` content that is there already stays."""

    entry: FileEntry
    path: Path
    keeps_equal: bool = False


def _write(destination: Destination, reader: FileReader, buffer: WriteBuffer, tally: ByteTally) -> ManifestFile:
    """Write one file; returns what PostgreSQL's manifest will say of it."""
    path, entry = destination.path, destination.entry
    checksum = file_checksum()
    try:
        if destination.keeps_equal and update_file(path, entry, reader, checksum, tally):
            return ManifestFile(entry.path, entry.size, entry.mtime_ns, checksum.algorithm, checksum.hexdigest())
        checksum = file_checksum()
        with NewFile(path, entry.mode, entry.size, buffer) as file:
            for piece in reader.pieces(entry):
                checksum.update(piece)
                file.write(piece)
                tally.add(len(piece))
    except OSError as exc:
        raise write_error(path, exc) from exc
    return ManifestFile(entry.path, entry.size, entry.mtime_ns, checksum.algorithm, checksum.hexdigest())


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

    def worker(reader: FileReader) -> workers.Worker[Destination]:
        buffer = WriteBuffer()
        return (lambda destination: written.append(_write(destination, reader, buffer, tally))), (lambda: None)

    workers.run(destinations, [worker(reader) for reader in readers])
    return written
