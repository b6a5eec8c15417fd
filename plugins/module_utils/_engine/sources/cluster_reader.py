# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a running cluster's files into packs, in parallel.

Large relation files are read page by page against their previous block map: only pages whose
digest differs are stored. Everything else is stored whole when its content differs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import PreconditionError
from ..ports import ProgressSink
from ..postgres import data_directory, pages
from ..postgres.data_directory import RelationSegment
from ..postgres.pages import BadPage
from ..postgres.wal_names import Lsn
from ..report.events import Warned
from ..repository.block_map import DIGEST_BYTES, BlockMap, differing, ranges_of
from ..repository.compression import Buffer
from ..repository.digests import Digester
from ..repository.manifest import FileEntry, render_entry
from ..repository.map_changes import StoredMap, changes_to
from ..repository.map_format import render, render_changes
from ..repository.packs import PackReader, PackWriter, PlacedFrame
from ..repository.sealed import FRAME_RAW_BYTES
from . import workers
from .content import Content, opened, window
from .drafts import MapDraft, WholeFile
from .entry_spool import EntrySpool
from .frame_builder import FrameBuilder
from .page_check import PageCheck
from .tally import ByteTally

if TYPE_CHECKING:
    import numpy
    import numpy.typing

    from ..postgres.wal_summaries import ChangedBlocks

    Flags = numpy.typing.NDArray[numpy.bool_]

# A relation file of more pages than this gets a block map; smaller ones are stored whole.
MAPPED_BYTES = 32 * pages.PAGE_BYTES
_READ_BYTES = 4 * FRAME_RAW_BYTES
# Maps that wait for their last pages to be sealed hold memory; at this much they wait no longer.
_MAX_WAITING_BYTES = 16 << 20


@dataclass(frozen=True)
class SourceFile:
    """One file to read: its place in the manifest, where it is, and what it is called there.

    `previous` is what the last backup has of it. `expected_same` says that by size and time it has
    not changed: a full backup reads it all the same, and tells when that was wrong.
    """

    number: int
    path: Path
    name: str
    area: str = "data"
    previous: FileEntry | None = None
    expected_same: bool = False
    content: Content | None = None  # what a stream brings; else the file is opened at its path
    size: int = 0  # about; what counts is what it is when it is opened

    def opened(self) -> AbstractContextManager[Content]:
        """The file's content, for the length of a `with` block."""
        return opened(self.path) if self.content is None else nullcontext(self.content)


@dataclass(frozen=True)
class Reading:
    """How to read: what workers share and only look at."""

    check: PageCheck
    digester: Digester
    # A full backup refers to nothing older; an incremental takes over what has not changed.
    refers_to_previous: bool
    # Told, now and then, of files whose packs are durable.
    journal: Callable[[list[bytes]], None]
    journal_every: int = 1 << 30
    # What WAL has changed since the last backup, where that is known: everything else is as it was.
    changed_blocks: ChangedBlocks | None = None


class Findings:
    """What all workers together have produced."""

    def __init__(self, spool: EntrySpool, sink: ProgressSink) -> None:
        self._lock = threading.Lock()
        self._spool = spool
        self._sink = sink
        self.files = 0
        self.needed_packs: set[str] | None = set()  # None: not known, an older backup did not say
        self.damaged: list[str] = []
        self.excused: list[tuple[str, int, Lsn]] = []
        self.missed: list[str] = []

    def finished(self, number: int, entry: FileEntry) -> bytes:
        """A file's entry is complete; its frames become durable when the worker finishes its packs."""
        line, needed = render_entry(entry), entry.needed_packs()
        self._spool.add(number, line)
        with self._lock:
            self.files += 1
            if needed is None:
                self.needed_packs = None
            elif self.needed_packs is not None:
                self.needed_packs |= needed
        return line

    def damage(self, path: str, blocks: list[int]) -> None:
        """Pages that stay bad."""
        with self._lock:
            for block in blocks:
                self.damaged.append(f"{path} block {block}")
                self._sink.emit(Warned(f"damaged page: block {block} of {path}"))

    def excuse(self, path: str, bad: list[BadPage]) -> None:
        """Pages that WAL replay writes anew, if their LSN is true."""
        with self._lock:
            self.excused += [(path, page.block, page.lsn) for page in bad]

    def judge_excused(self, stop_lsn: Lsn) -> None:
        """No page can truly be newer than the backup's last WAL: what says so is damaged."""
        for path, block, lsn in self.excused:
            if lsn > stop_lsn:
                self.damage(path, [block])

    def missed_change(self, path: str) -> None:
        """A file that skipping by size and time would have left out although its content changed."""
        with self._lock:
            self.missed.append(path)


class Worker:
    """Reads files and seals their bytes into packs of its own."""

    def __init__(
        self,
        data: PackWriter,
        maps: PackWriter,
        previous_maps: PackReader,
        reading: Reading,
        tally: ByteTally,
        findings: Findings,
    ) -> None:
        self._frames = FrameBuilder(data)
        self._maps = maps
        self._previous_maps = previous_maps
        self._reading = reading
        self._tally = tally
        self._findings = findings
        self._window = window(_READ_BYTES)
        self._unproven: list[int] = []  # pages of the present file
        self._waiting_bytes = 0
        self._unjournaled: list[bytes] = []
        self._unjournaled_bytes = 0

    def read(self, source: SourceFile) -> None:
        """One file; one that vanished since the scan is no error, its WAL says so too."""
        try:
            with source.opened() as content:
                self._read_open(source, content)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise PreconditionError(
                f"reading {source.path}",
                f"{exc.strerror}.",
                "Run as root or as the owner of the data directory, and check the file system.",
                code="data_file_not_readable",
            ) from exc
        self._unjournaled_bytes += content.size
        if self._unjournaled_bytes >= self._reading.journal_every:
            self.finish()
            self._reading.journal(self._unjournaled)
            self._unjournaled, self._unjournaled_bytes = [], 0

    def _read_open(self, source: SourceFile, content: Content) -> None:
        self._unproven = []
        relation = data_directory.relation_segment(source.name) if source.area == "data" else None
        if relation is not None and content.size > MAPPED_BYTES:
            self._read_mapped(source, content, relation)
        else:
            self._read_whole(source, content, relation.first_block if relation else None)

    def _finished(self, source: SourceFile, entry: FileEntry) -> None:
        """All bytes of a file have their place."""
        self._unjournaled.append(self._findings.finished(source.number, entry))

    def finish(self) -> None:
        """Seal what is left and make the last packs durable."""
        self._frames.finish()
        self._maps.finish()

    # --- files stored whole

    def _read_whole(self, source: SourceFile, content: Content, relation_start: int | None) -> None:
        if content.size <= _READ_BYTES:
            self._read_small(source, content, relation_start)
            return
        digest = self._reading.digester.file()
        whole = WholeFile(partial(self._finished, source))
        size = 0
        while size < content.size:  # what grows after this moment is in the WAL
            data = self._next(content, size)
            if not data:
                break  # truncated meanwhile: replay truncates it again
            digest.update(data)
            self._store(data, whole)
            size += len(data)
            self._tally.add(len(data))
        whole.close(self._close_whole(source, content, size, digest.hexdigest()))

    def _read_small(self, source: SourceFile, content: Content, relation_start: int | None) -> None:
        """A file that is in memory as a whole before its first byte is stored: maybe that need not be."""
        previous = source.previous
        data = self._next(content, 0)
        digest = self._digest(data)
        if relation_start is not None:
            proven = self._was_proven(previous) and previous is not None and previous.digest == digest
            settled = data if proven else self._settled(source, content, data, 0, relation_start)
            if settled is not data:
                data = memoryview(settled)
                digest = self._digest(data)
        self._tally.add(len(data))
        entry = self._close_whole(source, content, len(data), digest)
        if previous is not None and self._reading.refers_to_previous and _same_content(previous, entry):
            self._finished(source, replace(entry, chunks=previous.chunks))
            return
        whole = WholeFile(partial(self._finished, source))
        self._store(data, whole)
        whole.close(entry)

    def _close_whole(self, source: SourceFile, content: Content, size: int, digest: str) -> FileEntry:
        """The file's entry, still without places."""
        entry = self._entry(source, content, size, digest)
        same = source.previous is not None and _same_content(source.previous, entry)
        if not same and _still_expected_same(source, content):
            self._findings.missed_change(source.name)
        return entry

    def _entry(self, source: SourceFile, content: Content, size: int, digest: str = "") -> FileEntry:
        """A file that was read, before its bytes have their places."""
        mode, unproven = content.mode, tuple(self._unproven)
        return FileEntry(source.name, size, content.mtime_ns, mode, source.area, digest, unproven=unproven)

    def _was_proven(self, previous: FileEntry | None) -> bool:
        """Whether the last backup has looked at every page of a file as this one would, and found it good."""
        return self._reading.check.trusts_previous and previous is not None and not previous.unproven

    def _store(self, data: memoryview, whole: WholeFile) -> None:
        for start in range(0, len(data), FRAME_RAW_BYTES):
            piece = data[start : start + FRAME_RAW_BYTES]
            self._frames.add(piece, whole.expect(len(piece)))

    def _digest(self, data: memoryview) -> str:
        digest = self._reading.digester.file()
        digest.update(data)
        return str(digest.hexdigest())

    def _next(self, content: Content, offset: int) -> memoryview:
        """The next bytes, in memory that the next call uses again."""
        count = content.read_into(self._window[: min(_READ_BYTES, content.size - offset)], offset)
        return self._window[:count]

    # --- files with a block map

    def _read_mapped(self, source: SourceFile, content: Content, relation: RelationSegment) -> None:
        previous = self._previous_map(source)
        old = previous.now.digests if previous else b""
        known = old if self._reading.refers_to_previous else b""
        proven = old if self._was_proven(source.previous) else b""
        base = previous if self._reading.refers_to_previous else None
        draft = MapDraft(self._frames, partial(self._finish_map, source, base), base.now if base else None)
        flags = self._may_have_changed(source, content, relation) if known and proven else None
        digests = bytearray()
        size, more = 0, True
        while size < content.size and more:
            first = size // pages.PAGE_BYTES
            if flags is None:
                data = self._next(content, size)
                new: bytes | bytearray = self._reading.digester.pages(data)
                self._tally.add(len(data))
                more = bool(data)
            else:
                data, new, more = self._next_changed(content, size, flags, known)
            here = slice(first * DIGEST_BYTES, first * DIGEST_BYTES + len(new))
            unproven = differing(new, proven[here])
            if unproven:
                settled = self._settled(source, content, data, size, relation.first_block + first, unproven)
                if settled is not data:
                    data = memoryview(settled)
                    new = bytearray(new)
                    for start, end in unproven:
                        part = data[start * pages.PAGE_BYTES : end * pages.PAGE_BYTES]
                        new[start * DIGEST_BYTES : end * DIGEST_BYTES] = self._reading.digester.pages(part)
            for start, end in differing(new, known[here]):
                draft.add(first + start, data[start * pages.PAGE_BYTES : end * pages.PAGE_BYTES])
            digests += new
            size += len(data)
        if (previous is None or previous.now.digests != digests) and _still_expected_same(source, content):
            self._findings.missed_change(source.name)
        entry = self._entry(source, content, size)
        if not draft.close(entry, bytes(digests)):
            self._waiting_bytes += len(digests)
            if self._waiting_bytes > _MAX_WAITING_BYTES:
                self._frames.flush()
                self._waiting_bytes = 0

    def _may_have_changed(self, source: SourceFile, content: Content, relation: RelationSegment) -> Flags | None:
        """For each page whether it must be looked at; None when all of them must."""
        if self._reading.changed_blocks is None or source.previous is None:
            return None
        flags = self._reading.changed_blocks.pages(relation, -(-content.size // pages.PAGE_BYTES))
        if flags is not None:
            # What is new, and a page that only a part of was there, or is there now.
            flags[min(source.previous.size, content.size) // pages.PAGE_BYTES :] = True
        return flags

    def _next_changed(
        self, content: Content, offset: int, flags: Flags, known: bytes
    ) -> tuple[memoryview, bytearray, bool]:
        """As `_next`, but only the flagged pages are read. All pages' digests, and whether there is more."""
        data = self._window[: min(_READ_BYTES, content.size - offset)]
        first = offset // pages.PAGE_BYTES
        last = first + -(-len(data) // pages.PAGE_BYTES)
        digests = bytearray(known[first * DIGEST_BYTES : last * DIGEST_BYTES])
        read = 0
        for start, end in ranges_of(flags[first:last].nonzero()[0]):
            part = data[start * pages.PAGE_BYTES : end * pages.PAGE_BYTES]
            count = content.read_into(part, offset + start * pages.PAGE_BYTES)
            read += count
            digests[start * DIGEST_BYTES : end * DIGEST_BYTES] = self._reading.digester.pages(part[:count])
            if count < len(part):  # truncated meanwhile: replay truncates it again
                data = data[: start * pages.PAGE_BYTES + count]
                del digests[-(-len(data) // pages.PAGE_BYTES) * DIGEST_BYTES :]
                self._tally.add(read)
                return data, digests, False
        self._tally.add(read)
        self._tally.skip(len(data) - read)
        return data, digests, True

    def _previous_map(self, source: SourceFile) -> StoredMap | None:
        if source.previous is None or not source.previous.block_map:
            return None
        if not (self._reading.refers_to_previous or self._was_proven(source.previous) or source.expected_same):
            return None  # a full backup looks at it only to compare
        return StoredMap.load(source.previous, self._previous_maps.read)

    def _finish_map(self, source: SourceFile, previous: StoredMap | None, entry: FileEntry, now: BlockMap) -> None:
        """All pages have their place: write the map, or refer to the previous one as far as that is the same."""
        whole: tuple[PlacedFrame, ...] = ()
        changes: tuple[PlacedFrame, ...] = ()
        if previous is not None and source.previous is not None:
            whole, changes = source.previous.block_map, source.previous.map_changes
            if now is not previous.now:
                differences = changes_to(previous.whole, now)
                changes = self._placed(render_changes(differences)) if differences else ()
                whole = whole if differences else ()
        needed = now.places.packs()
        if not whole:
            whole = self._placed(render(now))
        elif changes and previous is not None:
            needed |= previous.whole.places.packs()  # what a reader takes from there need not be what was merged here
        self._finished(source, replace(entry, block_map=whole, map_changes=changes, map_packs=tuple(sorted(needed))))

    def _placed(self, text: bytes) -> tuple[PlacedFrame, ...]:
        return tuple(
            self._maps.append(text[start : start + FRAME_RAW_BYTES]) for start in range(0, len(text), FRAME_RAW_BYTES)
        )

    def _settled(
        self,
        source: SourceFile,
        content: Content,
        data: memoryview,
        offset: int,
        first_block: int,
        ranges: list[tuple[int, int]] | None = None,
    ) -> Buffer:
        settled = self._reading.check.settled(content, data, offset, first_block, ranges)
        if settled.bad:
            self._findings.damage(source.name, settled.bad)
        if settled.excused:
            self._findings.excuse(source.name, settled.excused)
        file_start = first_block - offset // pages.PAGE_BYTES
        self._unproven += [block - file_start for block in (*settled.bad, *(page.block for page in settled.excused))]
        return settled.data


def _same_content(previous: FileEntry, entry: FileEntry) -> bool:
    return (previous.size, previous.digest) == (entry.size, entry.digest)


def _still_expected_same(source: SourceFile, content: Content) -> bool:
    """Whether nobody has written to a file that was expected to be as before: neither before nor since its opening."""
    known = source.previous
    return (
        source.expected_same
        and content.is_untouched()
        and (known is not None and (content.mtime_ns, content.size) == (known.mtime_ns, known.size))
    )


def read_files(files: Iterable[SourceFile], crew: list[Worker], failed: threading.Event | None = None) -> None:
    """Read every file. On failure the caller aborts the pack writers."""
    workers.run(files, [(worker.read, worker.finish) for worker in crew], failed)
