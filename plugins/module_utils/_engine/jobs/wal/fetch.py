# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`restore_command`: one WAL file out of the repository, checked before PostgreSQL sees a byte.

PostgreSQL takes an ordinary failure of `restore_command` for the end of the archive and opens the
database there. That is right only when the archive really ends: a damaged object or a gap must
stop the recovery instead, so these are errors here, and the command turns them into an exit
status that PostgreSQL treats as fatal.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ... import durable
from ...errors import IntegrityError, StorageError
from ...postgres import wal_names
from ...repository.access import stanza_of
from ...repository.wal import WalArchive
from ...specs import RepositorySpec
from . import last_wal
from .archive import checked


@dataclass(frozen=True)
class FetchRequest:
    """What `archive-fetch` is asked."""

    repository: RepositorySpec
    stanza: str
    file_name: str
    destination: Path
    incarnation: str | None = None  # the present one unless said


def fetch(request: FetchRequest) -> bool:
    """Write the file to its destination. False when the archive does not have it and it may end there."""
    archive = archive_of(request)
    pieces = _pieces(archive, request)
    if pieces is None:
        return False
    try:
        durable.write_pieces(request.destination, checked(request.file_name, pieces, archive.life), 0o600)
    except OSError as exc:
        raise StorageError(
            f"writing {request.destination}",
            f"{exc.strerror}.",
            "Make room or give permission below pg_wal, then start the recovery again.",
            code="wal_file_not_writable",
        ) from exc
    return True


def is_the_end(request: FetchRequest) -> bool:
    """Whether `fetch` would find nothing. Everything is opened anew for this, as a process of its own would: what has
    vanished or was exchanged since somebody opened it must not seem to end.
    """
    return _pieces(archive_of(request), request) is None


def archive_of(request: FetchRequest) -> WalArchive:
    """The archive that is asked."""
    stanza = stanza_of(request.repository, request.stanza)
    return WalArchive(stanza, stanza.life(request.incarnation) if request.incarnation else stanza.require_registered())


def _pieces(archive: WalArchive, request: FetchRequest) -> Iterable[bytes] | None:
    """The file's content, or what may stand for it; None when the archive has neither and may end there."""
    archived = archive.find(request.file_name)
    if archived is not None:
        return archive.pieces(archived)
    refuse_gap(archive, request.file_name)
    partial = last_wal.for_recovery(archive, request.file_name, request.destination)
    return [partial] if partial is not None else None


def refuse_gap(archive: WalArchive, file_name: str) -> None:
    """A missing segment with a later one behind it is a hole, not the end."""
    if wal_names.classify(file_name) is not wal_names.WalFileKind.SEGMENT:
        return
    timeline, number = wal_names.timeline_of(file_name), file_name[8:]
    later = next(archive.segments(timeline, first=file_name), None)
    if later is None:
        return
    if any(archive.find(f"{other:08X}{number}") for other in archive.timelines() if other != timeline):
        return  # the history continues on another timeline
    raise IntegrityError(
        f"fetching the WAL segment {file_name}",
        f"it is missing in the archive although {later.file_name} is there: recovery cannot pass this gap.",
        "Choose a target before the gap or a backup after it, or bring the segment back from another copy.",
        code="wal_gap",
        missing=file_name,
    )
