# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single files out of a physical backup, by their path in it, into a directory of their own.

Nothing becomes visible under its name before all of it is there, verified and durable: files are
written into a hidden directory beside, then moved. A file that is there already with the very
content stays; with another content it is never overwritten.
"""

from __future__ import annotations

import base64
import heapq
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from ... import durable
from ...clock import Clock
from ...errors import PreconditionError
from ...ports import ProgressSink
from ...postgres import postmaster_pid
from ...postgres.control_file import CONTROL_FILE
from ...postgres.recovery_settings import RecoveryTarget
from ...priority import yield_to_others
from ...report.events import PhaseStarted
from ...report.phases import PhaseTime, PhaseTimer
from ...repository.access import stanza_of
from ...repository.compression import Buffer
from ...repository.manifest import FileEntry, Header
from ...repository.stanza import Stanza
from ...sources.cluster_writer import Destination, write_error, write_files
from ...sources.file_reader import FileReader
from ...sources.tally import ByteTally
from ...sources.workers import require_some
from ...specs import RepositorySpec
from . import choose
from .layout import require_space
from .path_patterns import PathPattern

THIRD_PARTY = ("xxhash",)

_DIRECTORY_MODE = 0o700
_STAGING_PREFIX = ".lifeboat-files-"
_NEAREST = 3
_LEAST_LIKENESS = 0.4


@dataclass(frozen=True)
class FilesRequest:
    """Which files, and where to."""

    repository: RepositorySpec
    stanza: str
    destination: Path
    patterns: Sequence[str]
    backup: str = choose.LATEST
    jobs: int = 2
    max_rate: float | None = None  # bytes a second
    low_priority: bool = False


@dataclass(frozen=True)
class FilesResult:
    """What was restored, or (in check mode) would be."""

    backup: Header
    restored: list[str]
    unchanged: list[str]
    phases: list[PhaseTime]

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return bool(self.restored)


def _kept_in_header(header: Header) -> dict[str, bytes]:
    """Files of the backup that its header holds, because a restore writes them apart from all others."""
    return {CONTROL_FILE: base64.b64decode(header.control_file), "backup_label": header.backup_label.encode()}


def _files(stanza: Stanza, header: Header) -> Iterator[FileEntry]:
    """The listed files; configuration that was in use elsewhere hides a forgotten copy of the same name."""
    in_use: set[str] = set()
    for entry in stanza.entries(header.backup_id):
        if isinstance(entry, FileEntry):
            if entry.area == "config":
                in_use.add(entry.path)
            elif entry.path in in_use:
                continue
            yield entry


class _Selection:
    """The files that were asked for, found before anything is written."""

    def __init__(self, stanza: Stanza, header: Header, patterns: Sequence[str]) -> None:
        self._header = header
        parsed = [PathPattern(text) for text in patterns]
        missed = set(patterns)
        self.inline: dict[str, bytes] = {}
        self.entries: list[FileEntry] = []
        for path, content in _kept_in_header(header).items():
            hits = [pattern for pattern in parsed if pattern.matches(path)]
            if hits:
                missed -= {pattern.text for pattern in hits}
                self.inline[path] = content
        for entry in _files(stanza, header):
            hits = [pattern for pattern in parsed if pattern.matches(entry.path)]
            if hits:
                missed -= {pattern.text for pattern in hits}
                self.entries.append(entry)
        if missed:
            raise self._unknown(stanza, next(text for text in patterns if text in missed))

    def _unknown(self, stanza: Stanza, text: str) -> PreconditionError:
        wanted = SequenceMatcher(None, "", text)
        near: list[tuple[float, str]] = []
        for path in [*_kept_in_header(self._header), *(entry.path for entry in _files(stanza, self._header))]:
            wanted.set_seq1(path)
            least = max(_LEAST_LIKENESS, near[0][0] if len(near) == _NEAREST else 0.0)
            if wanted.real_quick_ratio() > least and wanted.quick_ratio() > least and wanted.ratio() > least:
                heapq.heappush(near, (wanted.ratio(), path))
                if len(near) > _NEAREST:
                    heapq.heappop(near)
        nearest = [path for _likeness, path in sorted(near, reverse=True)]
        return PreconditionError(
            f"looking for {text} in backup {self._header.backup_id}",
            "the backup holds no such file." + (f" The nearest names: {', '.join(nearest)}." if nearest else ""),
            "Give paths relative to the data directory, such as postgresql.conf or base/16384/16385; *, ? and ** may"
            " stand in them. Nothing was written.",
            code="file_not_in_backup",
            file=text,
            nearest=nearest,
        )


def run(request: FilesRequest, clock: Clock, sink: ProgressSink, *, check_mode: bool = False) -> FilesResult:
    """Find, check, write; or in check mode all but the last."""
    require_some(request.jobs)
    if request.low_priority:
        yield_to_others(sink)
    timer = PhaseTimer(sink, clock)
    timer.emit(PhaseStarted("checking", "backup, files and directory"))
    stanza = stanza_of(request.repository, request.stanza)
    header = choose.backup_for(stanza, request.backup, RecoveryTarget(), clock.now())
    _refuse_running_server(request.destination)
    selection = _Selection(stanza, header, request.patterns)
    reader = FileReader(stanza, header.generation, 1)
    try:
        entries = [entry for entry in selection.entries if not _is_there(request.destination, entry, reader)]
        inline = {
            path: content
            for path, content in selection.inline.items()
            if not _has_content(_place(request.destination, path), [content], len(content))
        }
        restored = sorted([*inline, *(entry.path for entry in entries)])
        every = {*selection.inline, *(entry.path for entry in selection.entries)}
        if restored and not check_mode:
            require_space(request.destination, sum(entry.size for entry in entries))
            _write(request, stanza, header, entries, inline, timer)
    except OSError as exc:
        raise write_error(request.destination, exc) from exc
    return FilesResult(header, restored, sorted(every - set(restored)), timer.times())


def _refuse_running_server(destination: Path) -> None:
    """A directory of a running server, or one below it, is not a place to put old files (I6)."""
    for directory in (destination, *destination.parents):
        if postmaster_pid.is_running(directory):
            raise PreconditionError(
                f"restoring files into {destination}",
                f"a server is running in {directory}.",
                "Restore them into another directory and copy what you need, knowing what you do.",
                code="directory_in_use",
            )


def _place(destination: Path, relative: str) -> Path:
    parts = Path(relative).parts
    if Path(relative).is_absolute() or ".." in parts:
        raise PreconditionError(
            f"restoring files into {destination}",
            f"the manifest names the path {relative!r}, which leaves the directory.",
            "Do not use this backup.",
            code="path_invalid",
        )
    return destination.joinpath(*parts)


def _is_there(destination: Path, entry: FileEntry, reader: FileReader) -> bool:
    path = _place(destination, entry.path)
    return _has_content(path, reader.pieces(entry), entry.size) and path.stat().st_mode & 0o7777 == entry.mode


def _has_content(path: Path, pieces: Iterable[Buffer], size: int) -> bool:
    """Whether this very file is there already. Another one in its place is refused, so that nothing is lost."""
    if not path.exists() and not path.is_symlink():
        return False
    if path.is_file() and not path.is_symlink() and path.stat().st_size == size:
        with path.open("rb") as stream:
            if all(stream.read(len(piece)) == piece for piece in pieces):
                return True
    raise PreconditionError(
        f"restoring {path}",
        "there is something else under this name.",
        "Give an empty directory as destination; nothing was touched.",
        code="file_in_the_way",
        file=str(path),
    )


def _write(
    request: FilesRequest,
    stanza: Stanza,
    header: Header,
    entries: Sequence[FileEntry],
    inline: dict[str, bytes],
    sink: ProgressSink,
) -> None:
    destination = request.destination
    sink.emit(PhaseStarted("writing files", str(destination)))
    durable.make_directories(destination, _DIRECTORY_MODE)
    staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=destination))
    try:
        places = {staging / str(number): entry for number, entry in enumerate(entries)}
        readers = [FileReader(stanza, header.generation, request.jobs) for _number in range(request.jobs)]
        tally = ByteTally(sink, sum(entry.size for entry in entries), request.max_rate)
        write_files((Destination(entry, place) for place, entry in places.items()), readers, tally)
        moves = [(place, _place(destination, entry.path)) for place, entry in places.items()]
        for number, (path, content) in enumerate(inline.items(), start=len(entries)):
            durable.write_file(staging / str(number), content, 0o600)
            moves.append((staging / str(number), _place(destination, path)))
        durable.sync_files((place for place, _final in moves), [staging])
        touched = set()
        for place, final in moves:
            durable.make_directories(final.parent, _DIRECTORY_MODE)
            place.replace(final)
            touched.add(final.parent)
        for directory in touched:
            durable.fsync_directory(directory)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
