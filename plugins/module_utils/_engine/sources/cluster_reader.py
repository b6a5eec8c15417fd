# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a running cluster's files into packs, in parallel.

Each worker seals whole mebibytes of a file as frames of their own and bundles everything smaller
- small files and the ends of large ones - into shared frames, so that a hundred thousand little
relations do not make a hundred thousand frames.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import PreconditionError
from ..ports import ProgressSink
from ..postgres import data_directory, pages
from ..postgres.wal_names import Lsn
from ..report.events import Warned
from ..repository.manifest import Chunk, Entry, FileEntry
from ..repository.packs import PackWriter
from ..repository.sealed import FRAME_RAW_BYTES
from . import workers
from .tally import ByteTally

_TORN_READ_ATTEMPTS = 5
_TORN_READ_PAUSE = 0.02


@dataclass(frozen=True)
class SourceFile:
    """One file to read: where it is now, and what it is called in the backup."""

    path: Path
    name: str
    area: str = "data"


@dataclass(frozen=True)
class PageCheck:
    """Whether pages carry checksums, and from where on a bad page is no finding.

    A page changed since the backup's start may be read half written; replaying WAL writes it whole.
    """

    checksums: bool
    start_lsn: Lsn


@dataclass
class _PendingFile:
    """A file whose bytes partly wait in a bundle for their place."""

    source: SourceFile
    facts: os.stat_result
    size: int = 0
    sha256: str = ""
    chunks: list[Chunk | None] = field(default_factory=list)

    def entry(self) -> FileEntry | None:
        """The finished entry, or None while something is missing."""
        placed = [chunk for chunk in self.chunks if chunk is not None]
        if not self.sha256 or len(placed) != len(self.chunks):
            return None
        mode = self.facts.st_mode & 0o777
        return FileEntry(
            self.source.name, self.size, self.facts.st_mtime_ns, mode, self.sha256, tuple(placed), self.source.area
        )


class _Findings:
    """What all workers together have produced; the only thing they share besides the byte count."""

    def __init__(self, sink: ProgressSink) -> None:
        self._lock = threading.Lock()
        self._sink = sink
        self.entries: list[Entry] = []
        self.damaged: list[str] = []

    def finished(self, entry: FileEntry) -> None:
        with self._lock:
            self.entries.append(entry)

    def damage(self, path: str, block: int) -> None:
        with self._lock:
            self.damaged.append(f"{path} block {block}")
            self._sink.emit(Warned(f"damaged page: block {block} of {path}"))


class _Worker:
    """Reads files and seals their bytes into packs of its own."""

    def __init__(self, packs: PackWriter, check: PageCheck, tally: ByteTally, findings: _Findings) -> None:
        self._packs = packs
        self._check = check
        self._tally = tally
        self._findings = findings
        self._bundle = bytearray()
        self._bundled: list[tuple[_PendingFile, int, int, int]] = []  # file, chunk's index, start, length

    def read(self, source: SourceFile) -> None:
        """One file; one that vanished since the scan is no error, its WAL says so too."""
        try:
            handle = os.open(source.path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise PreconditionError(
                f"reading {source.path}",
                f"{exc.strerror}.",
                "Run as root or as the owner of the data directory, and check the file system.",
                code="data_file_not_readable",
            ) from exc
        try:
            self._read_open(_PendingFile(source, os.fstat(handle)), handle)
        finally:
            os.close(handle)

    def _read_open(self, pending: _PendingFile, handle: int) -> None:
        relation = data_directory.relation_segment(pending.source.name)
        digest = hashlib.sha256()
        while pending.size < pending.facts.st_size:  # what grows after this moment is in the WAL
            wanted = min(FRAME_RAW_BYTES, pending.facts.st_size - pending.size)
            read = os.pread(handle, wanted, pending.size)
            if not read:
                break  # truncated meanwhile: replay truncates it again
            piece = self._checked(pending, handle, read, relation.first_block) if relation else read
            digest.update(piece)
            pending.size += len(piece)
            self._place(pending, piece)
            self._tally.add(len(piece))
        pending.sha256 = digest.hexdigest()
        self._complete(pending)

    def _place(self, pending: _PendingFile, piece: bytes | bytearray) -> None:
        if len(piece) == FRAME_RAW_BYTES:
            pending.chunks.append(Chunk(self._packs.append(piece), 0, len(piece)))
            return
        if len(self._bundle) + len(piece) > FRAME_RAW_BYTES:
            self._seal_bundle()
        self._bundled.append((pending, len(pending.chunks), len(self._bundle), len(piece)))
        self._bundle += piece
        pending.chunks.append(None)

    def _seal_bundle(self) -> None:
        placed = self._packs.append(bytes(self._bundle))
        bundled, self._bundled = self._bundled, []
        self._bundle.clear()
        for pending, index, start, length in bundled:
            pending.chunks[index] = Chunk(placed, start, length)
            self._complete(pending)

    def _complete(self, pending: _PendingFile) -> None:
        entry = pending.entry()
        if entry is not None:
            self._findings.finished(entry)

    def finish(self) -> None:
        """Seal what is left and make the last pack durable."""
        if self._bundled:
            self._seal_bundle()
        self._packs.finish()

    def _checked(self, pending: _PendingFile, handle: int, piece: bytes, relation_start: int) -> bytes | bytearray:
        """The piece with torn pages read again; pages that stay wrong are reported."""
        first_block = relation_start + pending.size // pages.PAGE_BYTES
        suspects = self._suspects(piece, first_block)
        if not suspects:
            return piece
        mended = bytearray(piece)
        for _ in range(_TORN_READ_ATTEMPTS):
            time.sleep(_TORN_READ_PAUSE)
            for block in suspects:
                start = (block - first_block) * pages.PAGE_BYTES
                page = os.pread(handle, pages.PAGE_BYTES, pending.size + start)
                if len(page) == pages.PAGE_BYTES:  # else truncated meanwhile
                    mended[start : start + pages.PAGE_BYTES] = page
            suspects = self._suspects(mended, first_block)
            if not suspects:
                return mended
        for block in suspects:
            self._findings.damage(pending.source.name, block)
        return mended

    def _suspects(self, piece: bytes | bytearray, first_block: int) -> list[int]:
        found = pages.bad_pages(piece, first_block, checksums=self._check.checksums)
        return [page.block for page in found if page.lsn < self._check.start_lsn]


@dataclass(frozen=True)
class ReadResult:
    """All files, placed in packs that are durable."""

    entries: list[Entry]
    raw_bytes: int
    damaged: list[str]


def read_files(
    files: Iterable[SourceFile],
    pack_writers: list[PackWriter],
    check: PageCheck,
    total_bytes: int,
    sink: ProgressSink,
) -> ReadResult:
    """Read every file with one worker per pack writer. On failure the caller aborts the writers."""
    tally, findings = ByteTally(sink, total_bytes), _Findings(sink)
    crew = [_Worker(packs, check, tally, findings) for packs in pack_writers]
    workers.run(files, [(worker.read, worker.finish) for worker in crew])
    return ReadResult(findings.entries, tally.done, findings.damaged)
