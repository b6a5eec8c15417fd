# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One WAL file into the repositories, acknowledged only when it is durable in every required one (I4)."""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ... import wal_spool
from ...clock import Clock, SystemClock
from ...errors import IntegrityError, LifeboatError, PreconditionError
from ...postgres import wal_names, wal_page
from ...repository.access import stanza_of
from ...repository.stanza import Incarnation
from ...repository.wal import WalArchive
from ...specs import ArchiveSpec, WalCopy
from ...wal_spool import WalSpool
from . import claim

_MAPPED_BYTES = 64 << 20


@dataclass(frozen=True)
class ArchiveRequest:
    """What `archive-push` is asked."""

    archive: ArchiveSpec
    stanza: str
    path: Path
    data_directory: Path
    incarnation: str | None = None  # the one that the data directory has claimed unless said


def check_wal_file(file_name: str, content: bytes | memoryview, life: Incarnation) -> None:
    """A WAL file must be of this cluster, this version and this name before it is stored or used (I5)."""
    if _is_segment(file_name):
        _require_size(file_name, len(content), life)
        _require_head(file_name, content, life)


def checked(file_name: str, pieces: Iterable[bytes], life: Incarnation) -> Iterator[bytes]:
    """The same for one that comes in pieces: its beginning before any is passed on, its size at the end."""
    is_segment, size = _is_segment(file_name), 0
    for piece in pieces:
        if is_segment and size == 0:
            _require_head(file_name, piece, life)
        size += len(piece)
        yield piece
    if is_segment:
        _require_size(file_name, size, life)


def _is_segment(file_name: str) -> bool:
    """Whether there is something inside to check: histories are text without an identity."""
    kind = wal_names.classify(file_name)
    if kind is None:
        raise PreconditionError(
            f"archiving {file_name}",
            "this is not the name of a WAL file.",
            "Use archive-push in archive_command with %p, and archive-fetch in restore_command with %f.",
            code="wal_name_invalid",
        )
    return kind in (wal_names.WalFileKind.SEGMENT, wal_names.WalFileKind.PARTIAL)


def _require_size(file_name: str, size: int, life: Incarnation) -> None:
    if size != life.wal_segment_bytes:
        raise IntegrityError(
            f"checking the WAL segment {file_name}",
            f"it has {size} bytes instead of {life.wal_segment_bytes}.",
            "Look for a full disk or a broken file system below pg_wal.",
            code="wal_not_a_segment",
        )


def _require_head(file_name: str, content: bytes | memoryview, life: Incarnation) -> None:
    head = bytes(content[: wal_page.HEADER_BYTES])
    wal_page.check_segment(head, file_name, life.system_identifier, life.major_version, life.wal_segment_bytes)


def read_wal_file(path: Path) -> bytes | memoryview:
    """A WAL file's content; a very large one does not take its size in memory."""
    try:
        size = path.stat().st_size
        if size <= _MAPPED_BYTES:
            return path.read_bytes()
        with path.open("rb") as stream:
            return memoryview(mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ))
    except OSError as exc:
        raise PreconditionError(
            f"archiving {path}",
            f"it cannot be read ({exc.strerror}).",
            "archive-push runs as the server's owner in its data directory, with %p.",
            code="wal_file_not_readable",
        ) from exc


class Destination:
    """One repository as the place for a cluster's WAL. It is opened when first needed, and again after a failure."""

    def __init__(self, copy: WalCopy, stanza: str, facts: Callable[[], claim.Facts], life: str, clock: Clock) -> None:
        self.name = copy.name
        self.url = copy.repository.url
        self._copy = copy
        self._stanza = stanza
        self._facts = facts
        self._life = life
        self._clock = clock
        self._archive: WalArchive | None = None

    def archive(self) -> WalArchive:
        """The archive, with this cluster's life in it."""
        archive = self._archive
        if archive is None:
            stanza = stanza_of(self._copy.repository, self._stanza)
            life = claim.require_life(stanza, self._life, self._facts, self._clock)
            archive = self._archive = WalArchive(stanza, life)
        return archive

    def store(self, file_name: str, content: bytes | memoryview) -> bool:
        """Make the file durable; True when it is new, False when this very file was there already."""
        with self._usable() as archive:
            check_wal_file(file_name, content, archive.life)
            return archive.store(file_name, content)

    def store_partial(self, file_name: str, content: bytes) -> None:
        """Make the beginning of a segment durable; what it begins with has been checked."""
        with self._usable() as archive:
            archive.partials.store(file_name, content)

    @contextlib.contextmanager
    def _usable(self) -> Iterator[WalArchive]:
        try:
            archive = self.archive()
            archive.require_in_place()
            yield archive
            archive.require_in_place()
        except LifeboatError:
            self._archive = None
            raise


def push(request: ArchiveRequest, warn: Callable[[str], None]) -> bool:
    """Store one file in every repository. True when it was new in any of the required ones.

    An optional repository that fails is warned about, and owed the file: the background brings it later.
    """
    life = request.incarnation or claim.require_claimed(request.data_directory)
    content = read_wal_file(request.path)
    new = False
    for copy in request.archive.copies:
        place = Destination(copy, request.stanza, lambda: claim.facts_of(request.data_directory), life, SystemClock())
        try:
            new = place.store(request.path.name, content) or new
        except LifeboatError as exc:
            if copy in request.archive.required:
                raise
            warn(f"{copy.name} does not have {request.path.name}: {exc.message}")
            if request.incarnation is None:
                _owe(request, copy.name, warn)
    return new


def _owe(request: ArchiveRequest, repository: str, warn: Callable[[str], None]) -> None:
    spool = WalSpool(str(request.data_directory), wal_spool.claimed_life(str(request.data_directory)) or "")
    try:
        spool.owe(repository, request.path.name)
    except OSError as exc:
        warn(f"nothing will bring {request.path.name} to {repository}: it cannot be noted ({exc.strerror})")
