# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`archive_command`: one WAL file into the repository, acknowledged only when it is durable (I4)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import IntegrityError, PreconditionError
from ..postgres import wal_names, wal_page
from ..repository.access import stanza_of
from ..repository.stanza import Incarnation
from ..repository.wal import WalArchive
from ..specs import RepositorySpec


@dataclass(frozen=True)
class ArchiveRequest:
    """What `archive-push` is asked."""

    repository: RepositorySpec
    stanza: str
    path: Path


def check_wal_file(file_name: str, content: bytes, life: Incarnation) -> None:
    """A WAL file must be of this cluster, this version and this name before it is stored or used (I5)."""
    kind = wal_names.classify(file_name)
    if kind is None:
        raise PreconditionError(
            f"archiving {file_name}",
            "this is not the name of a WAL file.",
            "Use archive-push in archive_command with %p, and archive-fetch in restore_command with %f.",
            code="wal_name_invalid",
        )
    if kind not in (wal_names.WalFileKind.SEGMENT, wal_names.WalFileKind.PARTIAL):
        return  # history and backup history files are text without an identity inside
    if len(content) != life.wal_segment_bytes:
        raise IntegrityError(
            f"checking the WAL segment {file_name}",
            f"it has {len(content)} bytes instead of {life.wal_segment_bytes}.",
            "Look for a full disk or a broken file system below pg_wal.",
            code="wal_not_a_segment",
        )
    wal_page.check_segment(content, file_name, life.system_identifier, life.major_version, life.wal_segment_bytes)


def push(request: ArchiveRequest) -> bool:
    """Store one file. True when it is new, False when this very file was archived before."""
    file_name = request.path.name
    stanza = stanza_of(request.repository, request.stanza)
    life = stanza.require_registered()
    try:
        content = request.path.read_bytes()
    except OSError as exc:
        raise PreconditionError(
            f"archiving {request.path}",
            f"it cannot be read ({exc.strerror}).",
            "archive-push runs as the server's owner in its data directory, with %p.",
            code="wal_file_not_readable",
        ) from exc
    check_wal_file(file_name, content, life)
    return WalArchive(stanza, life).store(file_name, content)
