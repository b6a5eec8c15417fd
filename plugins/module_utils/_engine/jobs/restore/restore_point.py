# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A named point in WAL to come back to, archived before anybody relies on it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ...clock import Clock
from ...errors import PreconditionError
from ...ports import ProgressSink
from ...postgres.connection import Connection, connect
from ...postgres.server import Server, inspect
from ...postgres.wal_names import format_lsn, parse_lsn, segment_of, timeline_of
from ...report.events import PhaseStarted, Warned
from ...repository.access import stanza_of
from ...repository.stanza import Stanza
from ...repository.wal import WalArchive
from ...specs import ClusterSpec, RepositorySpec
from ..wal import claim
from ..wal.proof import why_late
from ..wal.wait import wait_for_segments
from .target_text import require_name

THIRD_PARTY = ("psycopg", "psycopg.sql")


@dataclass(frozen=True)
class PointRequest:
    """What the user wants."""

    cluster: ClusterSpec
    repository: RepositorySpec
    name: str
    archive_wait: float = 120.0  # seconds


@dataclass(frozen=True)
class PointResult:
    """Where the point is; in check mode where it would be made by now is not known."""

    name: str
    lsn: str
    timeline: int | None
    time: datetime | None
    segment: str


def run(request: PointRequest, clock: Clock, sink: ProgressSink, *, check_mode: bool = False) -> PointResult:
    """Make the point, end its segment, and wait until that is in the repository."""
    require_name(request.name)
    sink.emit(PhaseStarted("checking", "server and repository"))
    stanza = stanza_of(request.repository, request.cluster.stanza)
    with connect(request.cluster.connection, request.cluster.data_directory) as connection:
        server = inspect(connection, request.cluster.data_directory)
        here = request.cluster.method != "stream"  # a server elsewhere shows no files, and so no claim
        life = claim.known_life(stanza, server.data_directory) if here else stanza.require_registered()
        stanza.require_same_cluster(life, server.system_identifier, server.major)
        _require_possible(server, request)
        if not any(header.incarnation == life.incarnation for header in stanza.headers()):
            sink.emit(Warned("there is no backup yet: nothing can be recovered to this point without one before it"))
        if check_mode:
            return PointResult(request.name, "", None, None, "")
        return _make(request, connection, server, stanza, WalArchive(stanza, life), clock, sink)


def _require_possible(server: Server, request: PointRequest) -> None:
    happened = ""
    if server.in_recovery:
        happened = "the server is a standby: it cannot write WAL."
    elif server.settings["wal_level"] == "minimal":
        happened = "its wal_level is minimal."
    elif server.settings["archive_mode"] == "off" and not request.cluster.receive.streams:
        happened = "its archive_mode is off, so the point would never be archived."
    if happened:
        raise PreconditionError(
            f"making the restore point {request.name}",
            happened,
            "Make it on the primary, with archiving set up by the module pitr_configure.",
            code="restore_point_impossible",
        )


def _make(
    request: PointRequest,
    connection: Connection,
    server: Server,
    stanza: Stanza,
    archive: WalArchive,
    clock: Clock,
    sink: ProgressSink,
) -> PointResult:
    sink.emit(PhaseStarted("making the restore point", request.name))
    # The function returns the end of its record, which may be a segment's first byte.
    end, moment, name = connection.row(
        f"making the restore point {request.name}",
        "SELECT lsn::text, clock_timestamp(), pg_walfile_name(lsn) FROM pg_create_restore_point(%s) AS lsn",
        request.name,
    )
    lsn, timeline = parse_lsn(end), timeline_of(name)
    segment = segment_of(lsn - 1, timeline, server.wal_segment_bytes).name
    connection.rows("switching WAL", "SELECT pg_switch_wal()")
    sink.emit(PhaseStarted("archiving the restore point", segment))
    receive, here = request.cluster.receive, request.cluster.method != "stream"

    def why() -> str:
        return why_late(
            connection,
            server.data_directory if here else None,
            segment,
            by_command=receive.archives,
            slot=receive.slot if receive.streams else None,
        )

    wait_for_segments(archive, [segment], why, clock, request.archive_wait)
    return PointResult(request.name, format_lsn(lsn), timeline, moment, segment)
