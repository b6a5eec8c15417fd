# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stanza holds: its backups, its archived WAL, and the points it can recover to."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...errors import IntegrityError
from ...postgres.timeline_path import Path
from ...postgres.wal_names import WalSegment, format_lsn, parse_segment_name
from ...repository.access import stanza_of
from ...repository.manifest import Header, SetHeader
from ...repository.stanza import Incarnation, Stanza
from ...repository.wal import RecordedGap, WalArchive
from ...specs import RepositorySpec
from ..restore import choose
from ..wal import last_wal
from ..wal.timeline_map import TimelineMap, stretch


@dataclass(frozen=True)
class Window:
    """The range of points that a backup and the WAL behind it can reach."""

    backup_id: str
    earliest: str
    last_segment: str | None
    partial_until: str | None  # how far what was shipped of the segment behind it reaches
    missing_segments: list[str]


@dataclass(frozen=True)
class TimelineWindow:
    """What can be recovered along the way to one timeline."""

    timeline: int
    parent: int | None
    begins_at: str  # where it left its parent
    path: list[int]
    backups: list[str]  # those that lie on the way, oldest first
    earliest: str | None
    last_segment: str | None
    partial_until: str | None
    missing_segments: list[str]


@dataclass(frozen=True)
class Life:
    """One life of the cluster: before an upgrade, since it, or beside another one."""

    number: int
    incarnation: str
    system_identifier: int
    major_version: int
    began: str
    is_present: bool  # the newest one
    backups: list[str]  # oldest first
    earliest: str | None  # the first point in time that can be recovered to
    last_segment: str | None  # the newest archived one, of its newest timeline


@dataclass(frozen=True)
class Info:
    """A stanza at a glance."""

    stanza: str
    repository: str
    system_identifier: int | None
    major_version: int | None
    backups: list[Header] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    timelines: list[TimelineWindow] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    wal_first: str | None = None
    wal_last: str | None = None
    wal_segments: int = 0
    dropped: list[RecordedGap] = field(default_factory=list)
    logical: list[SetHeader] = field(default_factory=list)


def read(spec: RepositorySpec, stanza_name: str) -> Info:
    """Read-only; an unknown stanza is simply empty."""
    stanza = stanza_of(spec, stanza_name, only_lists=True)
    lives, every = stanza.incarnations(), stanza.all_headers()
    logical = [header for header in every if isinstance(header, SetHeader)]
    if not lives:
        return Info(stanza_name, spec.url, None, None, logical=logical)
    life = lives[-1]
    headers = [header for header in every if isinstance(header, Header)]
    archive = WalArchive(stanza, life)
    names = [archived.file_name for timeline in archive.timelines() for archived in archive.segments(timeline)]
    maps: dict[str, TimelineMap] = {}
    windows = []
    for header in headers:
        if header.incarnation not in maps:
            maps[header.incarnation] = TimelineMap(WalArchive(stanza, choose.life_of(stanza, header)))
        windows.append(_window(maps[header.incarnation], header))
    return Info(
        stanza_name,
        spec.url,
        life.system_identifier,
        life.major_version,
        headers,
        windows,
        _timelines(archive, [header for header in headers if header.incarnation == life.incarnation]),
        [_life(stanza, each, headers, is_present=each == life) for each in lives],
        names[0] if names else None,
        names[-1] if names else None,
        len(names),
        archive.recorded_gaps(),
        logical,
    )


def _life(stanza: Stanza, life: Incarnation, headers: list[Header], *, is_present: bool) -> Life:
    own = [header for header in headers if header.incarnation == life.incarnation]
    archive = WalArchive(stanza, life)
    newest = [archived.file_name for timeline in archive.timelines()[-1:] for archived in archive.segments(timeline)]
    return Life(
        life.number,
        life.incarnation,
        life.system_identifier,
        life.major_version,
        life.created,
        is_present,
        [header.backup_id for header in own],
        own[0].stop_time if own else None,
        newest[-1] if newest else None,
    )


def _window(timelines: TimelineMap, header: Header) -> Window:
    archive, size = timelines.archive, header.wal_segment_bytes
    there = [archived.file_name for archived in archive.segments(header.timeline)]
    missing = list(choose.gaps(archive, header))
    last = there[-1] if there else None
    until = None
    if last and not missing:
        own = timelines.to("current", header.timeline)
        until = _partial_until(archive, own, parse_segment_name(last, size), size)
    return Window(header.backup_id, header.stop_time, last, until, missing[:100])


def _partial_until(archive: WalArchive, way: Path, last: WalSegment | None, size: int) -> str | None:
    try:
        ending = last_wal.behind(archive, way, last, size)
    except IntegrityError:
        return None  # two receivers ship into this stanza: restores refuse, and what else there is can be listed
    return format_lsn(ending.end) if ending else None


def _timelines(archive: WalArchive, headers: list[Header]) -> list[TimelineWindow]:
    """A window per timeline: from its oldest backup on, along the way that leads there."""
    found = []
    size = archive.life.wal_segment_bytes
    for path in sorted(TimelineMap(archive).paths.values(), key=lambda path: path.timeline):
        on_path = [header for header in headers if path.passes(header.timeline, header.stop_lsn)]
        first = on_path[0].start_lsn // size if on_path else path.legs[-1].begin // size
        there = stretch(archive, path, first, size)
        leg = path.legs[-1]
        found.append(
            TimelineWindow(
                path.timeline,
                path.legs[-2].timeline if path.legs[1:] else None,
                format_lsn(leg.begin),
                path.timelines,
                [header.backup_id for header in on_path],
                on_path[0].stop_time if on_path else None,
                there.last.name if there.last else None,
                None if there.missing else _partial_until(archive, path, there.last, size),
                there.missing[:100],
            )
        )
    return found
