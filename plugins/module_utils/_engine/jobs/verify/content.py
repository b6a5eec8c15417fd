# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof by reading: every byte a backup needs is fetched, authenticated and compared, nothing is written."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from ...errors import LifeboatError
from ...ports import ProgressSink
from ...report.events import PhaseStarted
from ...repository import layout, pack_lists
from ...repository.manifest import AnyHeader, FileEntry, Header
from ...repository.stanza import Stanza
from ...repository.wal import WalArchive
from ...sources import workers
from ...sources.file_reader import FileReader
from ...sources.tally import ByteTally
from ..restore.choose import life_of, missing_wal, needed_segments
from ..wal.archive import checked
from .affected import affected
from .checks import Check


def verify(stanza: Stanza, header: AnyHeader, jobs: int, sink: ProgressSink) -> list[Check]:
    """Read all files, and of a physical backup the WAL that makes it consistent."""
    sink.emit(PhaseStarted("reading every byte", header.backup_id))
    damage = _Damage(stanza, header.backup_id)
    checks = [_files(stanza, header, jobs, sink)]
    if isinstance(header, Header):
        checks.append(damage.attempt(f"WAL of {header.backup_id}", partial(_wal, stanza, header)))
    if stanza.repository.store.size(layout.pack_list(stanza.name, header.backup_id)) is not None:
        name = f"list of packs of {header.backup_id}"
        checks.append(damage.attempt(name, lambda: f"{len(pack_lists.listed(stanza, header.backup_id))} packs"))
    return checks


class _Damage:
    """Takes note of the objects that errors name."""

    def __init__(self, stanza: Stanza, backup_id: str) -> None:
        self._stanza = stanza
        self._backup_id = backup_id
        self._objects: set[str] = set()

    def attempt(self, name: str, check: Callable[[], str]) -> Check:
        """A check that reports its evidence, or fails with an error of ours and says whom else the damage affects."""
        try:
            return Check(name, True, check())
        except LifeboatError as error:
            self.note(error)
            return Check(name, False, error.message + self.others())

    def note(self, error: LifeboatError) -> None:
        """Something could not be read."""
        if "object" in error.details:
            self._objects.add(str(error.details["object"]))

    def others(self) -> str:
        """Which other backups need what was damaged."""
        others = [each for each in affected(self._stanza, self._objects) if each != self._backup_id]
        return f" Affected as well: {', '.join(others)}." if others else ""


def _files(stanza: Stanza, header: AnyHeader, jobs: int, sink: ProgressSink) -> Check:
    """All damaged files are named, not only the first: what can be saved depends on it."""
    tally = ByteTally(sink, header.raw_bytes)
    damage = _Damage(stanza, header.backup_id)
    damaged: list[str] = []
    lock = threading.Lock()

    def read_with(reader: FileReader, entry: FileEntry) -> None:
        try:
            for piece in reader.pieces(entry):
                tally.add(len(piece))
        except LifeboatError as error:
            with lock:
                damaged.append(f"{entry.path}: {error.message}")
                damage.note(error)

    def worker() -> workers.Worker[FileEntry]:
        reader = FileReader(stanza, header.generation, jobs)
        return (lambda entry: read_with(reader, entry)), (lambda: None)

    files = (entry for entry in stanza.entries(header.backup_id) if isinstance(entry, FileEntry))
    name = f"files of {header.backup_id}"

    def read_all() -> str:
        ordered = workers.largest_first(files, lambda entry: entry.size)
        workers.run(ordered, [worker() for _number in range(jobs)])
        return f"{header.file_count} files with {tally.done} bytes authenticated and compared"

    result = damage.attempt(name, read_all)  # fails itself when the list of files cannot be read
    if damaged:
        seen = f"{len(damaged)} of {header.file_count} files are damaged; {damaged[0]}"
        return Check(name, False, seen + damage.others())
    return result


def _wal(stanza: Stanza, header: Header) -> str:
    life = life_of(stanza, header)
    archive = WalArchive(stanza, life)
    segments = needed_segments(header)
    for segment in segments:
        archived = archive.find(segment.name)
        if archived is None:
            raise missing_wal(header, [segment.name])
        for _piece in checked(segment.name, archive.pieces(archived), life):
            pass
    return f"{len(segments)} segments from {segments[0].name} to {segments[-1].name} authenticated"
