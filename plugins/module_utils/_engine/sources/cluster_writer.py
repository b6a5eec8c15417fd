# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a backup's files into a directory, in parallel, verified and durable.

`pg_control` is not written here: whoever calls writes it last, when nothing can start the
directory by mistake any more.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import IntegrityError, LifeboatError, StorageError
from ..ports import ProgressSink
from ..repository.manifest import Chunk, FileEntry
from ..repository.packs import PackReader
from . import workers
from .tally import ByteTally

# Adjacent frames of a large file are fetched together.
_RUN_BYTES = 4 << 20


@dataclass(frozen=True)
class Destination:
    """Where a file of the backup goes."""

    entry: FileEntry
    path: Path


class FileReader:
    """Reads a backed-up file's bytes out of its packs; one per worker.

    The frame last used is kept: small files that were bundled together come one after another.
    """

    def __init__(self, packs: PackReader) -> None:
        self._packs = packs
        self._last: tuple[str, int] | None = None
        self._raw = b""

    def pieces(self, entry: FileEntry) -> Iterator[bytes]:
        """The file's content in order, every byte authenticated, the whole checked by its digest."""
        digest = hashlib.sha256()
        size = 0
        for run in _runs(entry.chunks):
            for piece in self._run(run):
                digest.update(piece)
                size += len(piece)
                yield piece
        if size != entry.size or digest.hexdigest() != entry.sha256:
            raise IntegrityError(
                f"reading {entry.path} from the backup",
                "its content does not match the digest in the manifest.",
                "Use another backup, and verify the repository.",
                code="file_digest_mismatch",
                file=entry.path,
            )

    def _run(self, run: list[Chunk]) -> Iterator[bytes]:
        pack = run[0].placed.pack
        if len(run) == 1:
            chunk = run[0]
            place = (pack, chunk.placed.frame.number)
            if place != self._last:
                self._raw = self._packs.read(chunk.placed)
                self._last = place
            yield self._raw[chunk.start : chunk.start + chunk.length]
            return
        for chunk, raw in zip(run, self._packs.read_run(pack, [chunk.placed.frame for chunk in run])):
            yield raw[chunk.start : chunk.start + chunk.length]


def _runs(chunks: Iterable[Chunk]) -> Iterator[list[Chunk]]:
    """Group chunks whose frames follow one another in one pack, up to a bounded size."""
    run: list[Chunk] = []
    for chunk in chunks:
        if run and not (_adjacent(run[-1], chunk) and _span(run) + chunk.placed.frame.length <= _RUN_BYTES):
            yield run
            run = []
        run.append(chunk)
    if run:
        yield run


def _adjacent(one: Chunk, other: Chunk) -> bool:
    before, after = one.placed, other.placed
    return before.pack == after.pack and before.frame.offset + before.frame.length == after.frame.offset


def _span(run: list[Chunk]) -> int:
    return sum(chunk.placed.frame.length for chunk in run)


def _write(destination: Destination, reader: FileReader, tally: ByteTally) -> None:
    path = destination.path
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "wb", buffering=0) as stream:
            os.fchmod(stream.fileno(), destination.entry.mode)
            for piece in reader.pieces(destination.entry):
                view = memoryview(piece)
                while view:
                    view = view[stream.write(view) or 0 :]
                tally.add(len(piece))
            os.fsync(stream.fileno())
    except OSError as exc:
        raise write_error(path, exc) from exc


def write_error(path: Path, exc: OSError) -> LifeboatError:
    """A restore could not write; the directory stays marked as unfinished."""
    return StorageError(
        f"writing {path}",
        f"{exc.strerror}.",
        "Make room or give permission, then run the same restore again: it goes on in this directory.",
        code="restore_write_failed",
    )


def write_files(
    destinations: Iterable[Destination],
    readers: list[PackReader],
    total_bytes: int,
    sink: ProgressSink,
) -> None:
    """Write every file with one worker per reader, each file synced."""
    tally = ByteTally(sink, total_bytes)

    def worker(reader: FileReader) -> workers.Worker[Destination]:
        return (lambda destination: _write(destination, reader, tally)), (lambda: None)

    workers.run(destinations, [worker(FileReader(packs)) for packs in readers])
