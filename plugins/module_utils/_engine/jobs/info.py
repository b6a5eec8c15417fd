# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stanza holds: its backups, its archived WAL, and the points it can recover to."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..repository.access import stanza_of
from ..repository.manifest import Header
from ..repository.wal import RecordedGap, WalArchive
from ..specs import RepositorySpec
from . import choose


@dataclass(frozen=True)
class Window:
    """The range of points that a backup and the WAL behind it can reach."""

    backup_id: str
    earliest: str
    last_segment: str | None
    missing_segments: list[str]


@dataclass(frozen=True)
class Info:
    """A stanza at a glance."""

    stanza: str
    repository: str
    system_identifier: int | None
    major_version: int | None
    backups: list[Header] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    wal_first: str | None = None
    wal_last: str | None = None
    wal_segments: int = 0
    dropped: list[RecordedGap] = field(default_factory=list)


def read(spec: RepositorySpec, stanza_name: str) -> Info:
    """Read-only; an unknown stanza is simply empty."""
    stanza = stanza_of(spec, stanza_name, only_lists=True)
    life = stanza.current()
    if life is None:
        return Info(stanza_name, spec.url, None, None)
    headers = stanza.headers()
    archive = WalArchive(stanza, life)
    names = [archived.file_name for timeline in archive.timelines() for archived in archive.segments(timeline)]
    windows = []
    for header in headers:
        own = WalArchive(stanza, choose.life_of(stanza, header))
        last = [archived.file_name for archived in own.segments(header.timeline)]
        missing = list(choose.gaps(own, header))
        windows.append(Window(header.backup_id, header.stop_time, last[-1] if last else None, missing[:100]))
    return Info(
        stanza_name,
        spec.url,
        life.system_identifier,
        life.major_version,
        headers,
        windows,
        names[0] if names else None,
        names[-1] if names else None,
        len(names),
        archive.recorded_gaps(),
    )
