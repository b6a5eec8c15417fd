# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof by reading: every byte a backup needs is fetched, authenticated and compared, nothing is written."""

from __future__ import annotations

import threading

from ..ports import ProgressSink
from ..report.events import PhaseStarted
from ..repository.manifest import FileEntry, Header
from ..repository.stanza import Stanza
from ..repository.wal import WalArchive
from ..sources import workers
from ..sources.file_reader import FileReader
from ..sources.tally import ByteTally
from .archive import check_wal_file
from .checks import Check, attempt
from .choose import life_of, missing_wal, needed_segments


def verify(stanza: Stanza, header: Header, jobs: int, sink: ProgressSink) -> list[Check]:
    """Read all files and the WAL that makes the backup consistent."""
    sink.emit(PhaseStarted("reading every byte", header.backup_id))
    return [_files(stanza, header, jobs, sink), attempt(f"WAL of {header.backup_id}", lambda: _wal(stanza, header))]


def _files(stanza: Stanza, header: Header, jobs: int, sink: ProgressSink) -> Check:
    """All damaged files are named, not only the first: what can be saved depends on it."""
    tally = ByteTally(sink, header.raw_bytes)
    damaged: list[str] = []
    lock = threading.Lock()

    def read_with(reader: FileReader, entry: FileEntry) -> None:
        def content() -> str:
            for piece in reader.pieces(entry):
                tally.add(len(piece))
            return entry.path

        check = attempt(entry.path, content)
        if not check.ok:
            with lock:
                damaged.append(f"{entry.path}: {check.evidence}")

    def worker() -> workers.Worker[FileEntry]:
        reader = FileReader(stanza, header.generation, jobs)
        return (lambda entry: read_with(reader, entry)), (lambda: None)

    files = (entry for entry in stanza.entries(header.backup_id) if isinstance(entry, FileEntry))
    name = f"files of {header.backup_id}"

    def read_all() -> str:
        workers.run(files, [worker() for _number in range(jobs)])
        return f"{header.file_count} files with {tally.done} bytes authenticated and compared"

    result = attempt(name, read_all)  # fails itself when the list of files cannot be read
    if damaged:
        return Check(name, False, f"{len(damaged)} of {header.file_count} files are damaged; {damaged[0]}")
    return result


def _wal(stanza: Stanza, header: Header) -> str:
    life = life_of(stanza, header)
    archive = WalArchive(stanza, life)
    segments = needed_segments(header)
    for segment in segments:
        archived = archive.find(segment.name)
        if archived is None:
            raise missing_wal(header, [segment.name])
        check_wal_file(segment.name, archive.fetch(archived), life)
    return f"{len(segments)} segments from {segments[0].name} to {segments[-1].name} authenticated"
