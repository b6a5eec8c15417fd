# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a receiver receives from: asked before every start of pg_receivewal, so that no other server slips in.

The answers decide where it begins. What the spool holds of a timeline that the server has left
earlier is moved aside, and what the server no longer has is named as a gap.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from ... import durable
from ...clock import Clock
from ...errors import IntegrityError, PreconditionError
from ...postgres import receivewal, replication, slots, timeline_path
from ...postgres.connection import Connection, connect
from ...postgres.replication import RemoteServer, Replication
from ...postgres.slots import Slot
from ...postgres.timeline_path import Path as Way
from ...postgres.wal_names import WalSegment, format_lsn, history_name, parse_segment_name
from ...repository.access import stanza_of
from ...repository.wal import WalArchive
from ...specs import ArchiveSpec, ClusterSpec, ConnectionSpec
from ..wal import claim
from ..wal.archive import Destination
from .spool import ReceiveSpool, SpoolOwner

_MOST_LOOKED_FOR = 1000  # segments in a gap


@dataclass(frozen=True)
class Found:
    """The server as it is now."""

    server: RemoteServer
    way: Way
    slot: Slot


class Source:
    """The server that a cluster's connection settings lead to, whichever that is."""

    def __init__(
        self,
        cluster: ClusterSpec,
        archive: ArchiveSpec,
        spool: ReceiveSpool,
        clock: Clock,
        warn: Callable[[str], None],
    ) -> None:
        self._cluster = cluster
        self._archive = archive
        self._spool = spool
        self._clock = clock
        self._warn = warn
        directory = cluster.data_directory
        # os.path: who may not look into it is as far away as another host
        there = directory is not None and os.path.exists(directory / "global/pg_control")
        self._data_directory = directory if there else None

    def require_owner(self) -> None:
        """Beside its server it works as that one's owner: keys, repository and socket are his."""
        directory = self._data_directory
        if directory is not None and directory.stat().st_uid != os.geteuid():
            raise PreconditionError(
                f"receiving WAL of {self._cluster.name}",
                f"this runs as another user than the owner of {directory}.",
                "Run it as that user, as with User= in its systemd unit.",
                code="receiver_not_as_owner",
            )

    def connection(self) -> ConnectionSpec:
        """How to reach it; a local server's address is read anew each time."""
        return receivewal.addressed(self._cluster.connection, self._data_directory)

    def require_claim(self) -> SpoolOwner:
        """The life that is received into, once the server has said who it is."""
        with replication.connect(self.connection(), self._warn) as session:
            server = session.inspect()
        return self._owner(server)

    def _owner(self, server: RemoteServer) -> SpoolOwner:
        stanza = stanza_of(self._archive.required[0].repository, self._cluster.stanza)
        if self._data_directory is not None:
            directory = self._data_directory
            claimed = claim.require_claimed(directory)
            life = claim.require_life(stanza, claimed, lambda: claim.facts_of(directory), self._clock)
        else:
            life = stanza.require_registered()
        stanza.require_same_cluster(life, server.system_identifier, server.major)
        return SpoolOwner(
            stanza.name, life.incarnation, life.system_identifier, life.major_version, life.wal_segment_bytes
        )

    def prepare(self, owner: SpoolOwner) -> Found:
        """All that must be so before pg_receivewal may write into the spool."""
        connection = self.connection()
        with replication.connect(connection, self._warn) as session:
            server = session.inspect()
            self._require_same(server, owner)
            way = self._way(session, server)
        size = owner.wal_segment_bytes
        self._spool.mend(size, self._clock)
        with connect(connection, None) as sql:
            hanging = receivewal.hanging_commits(receivewal.synchronous_settings(sql), self._cluster.receive)
            if hanging is not None:
                raise hanging
            begin = self._after_failover(server, way, size)
            slot = self._slot(sql)
        found = Found(server, way, slot)
        if begin is None:
            self._spool.seed(self._first_begin(owner, found))
        return found

    def watch(self) -> list[str]:
        """What somebody should know while receiving goes on."""
        with connect(self.connection(), None) as sql:
            slot = slots.look(sql, self._cluster.receive.slot)
            hanging = receivewal.hanging_commits(receivewal.synchronous_settings(sql), self._cluster.receive)
        return [*(slot.warnings() if slot is not None else []), *([hanging.message] if hanging else [])]

    def _require_same(self, server: RemoteServer, owner: SpoolOwner) -> None:
        attempted = "checking the server to receive from"
        if server.in_recovery:
            raise PreconditionError(
                attempted,
                "it is a standby.",
                "The receiver waits until it is promoted, or until the connection leads to the primary.",
                code="receiver_waits_for_primary",
            )
        found = server.system_identifier, server.major, server.wal_segment_bytes
        if found != (owner.system_identifier, owner.major_version, owner.wal_segment_bytes):
            raise IntegrityError(
                attempted,
                f"it has the system identifier {server.system_identifier} and is PostgreSQL {server.major}; received so"
                f" far was {owner.system_identifier} of {owner.major_version}.",
                "Correct the connection. After pg_upgrade claim a new incarnation (pitr_configure with claim:"
                " incarnation) and start the receiver again: it goes on by itself.",
                code="receiver_other_server",
            )
        if self._data_directory is not None:
            claim.require_claimed(self._data_directory)

    def _way(self, session: Replication, server: RemoteServer) -> Way:
        """How the server came to its timeline; its history goes into the spool, and so into the archive first."""
        if server.timeline == 1:
            return timeline_path.first()
        attempted = f"asking the server for the history of timeline {server.timeline}"
        ((_name, text, *_rest),) = session.rows(attempted, f"TIMELINE_HISTORY {server.timeline}")
        content = (text or "").encode("utf-8", "surrogateescape")
        path = self._spool.wal / history_name(server.timeline)
        if not path.exists():
            durable.write_file(path, content, 0o600)
        elif path.read_bytes() != content:
            raise _not_ours(f"it has another history of timeline {server.timeline} than the one received before.")
        return timeline_path.path_to(server.timeline, content)

    def _after_failover(self, server: RemoteServer, way: Way, size: int) -> WalSegment | None:
        """Where to go on; None with an empty spool. What the server has left behind is set aside."""
        following = self._spool.next_segment(size)
        if following is None:
            return None
        if following.timeline > server.timeline:
            raise _not_ours(
                f"it is on timeline {server.timeline}, but WAL of timeline {following.timeline} was received already."
            )
        behind = self._spool.left_behind(way, size)
        if not behind:
            if following.start_lsn > server.position and following.timeline == server.timeline:
                raise _not_ours(
                    f"its WAL has come as far as {format_lsn(server.position)}, but everything before"
                    f" {format_lsn(following.start_lsn)} was received already."
                )
            return self._next_on(way, following, size)
        folder = self._spool.set_aside(behind, self._clock)
        begin = way.segment(min([following.number, *(each.number for each in behind)]), size)
        self._warn(
            f"the server is on timeline {server.timeline} now, which has left timeline {behind[0].timeline} before the"
            f" end of what was received of it: {', '.join(each.name for each in behind)} lie in {folder} and are not"
            f" archived; receiving goes on with {begin.name}"
        )
        self._spool.seed(begin)
        return begin

    def _next_on(self, way: Way, following: WalSegment, size: int) -> WalSegment:
        """Where a timeline was left right at the end of what was received, its child goes on.

        pg_receivewal would ask for the old one from there, of which the server has nothing to send, and fail for ever.
        """
        begin = way.segment(following.number, size)
        if begin != following:
            self._spool.seed(begin)
        return begin

    def _slot(self, sql: Connection) -> Slot:
        name = self._cluster.receive.slot
        slot = slots.look(sql, name)
        if slot is not None and (slot.lost or slot.restart_lsn is None) and not slots.needs_making(slot, name):
            for warning in slot.warnings():
                self._warn(warning)
            slots.make_again(sql, name)
        else:
            slots.ensure(sql, name)
        found = slots.look(sql, name)
        if found is None:
            raise _not_ours("its replication slot has vanished again.")
        return found

    def pass_gap(self, owner: SpoolOwner, found: Found, *, certain: bool) -> list[str]:
        """Go on with what the server still has; the names of the segments that nobody has archived.

        `certain`: the server has said that it does not have what comes next.
        """
        size = owner.wal_segment_bytes
        begin = self._spool.next_segment(size)
        with connect(self.connection(), None) as sql:
            first = self._oldest(sql, found.way, size, certain=certain)
        if begin is None or begin.number >= first:
            return []
        skipped = [found.way.segment(number, size) for number in range(begin.number, first)]
        archive = self._archive_of(owner)
        few = len(skipped) <= _MOST_LOOKED_FOR
        missing = [segment.name for segment in skipped if not few or archive.find(segment.name) is None]
        unfinished = self._spool.partials(size)
        if unfinished:
            folder = self._spool.set_aside(unfinished, self._clock)
            self._warn(f"{', '.join(each.name for each in unfinished)}, which cannot be finished, lie in {folder}")
        self._spool.seed(found.way.segment(first, size))
        return missing

    def _oldest(self, sql: Connection, way: Way, size: int, *, certain: bool) -> int:
        """The number of the oldest segment that can still be had; 0 while nothing proves that one is gone."""
        try:
            there = set(slots.wal_files(sql))
        except PreconditionError:  # the role may not look: then what a new slot holds
            if not certain:
                return 0  # a slot that still holds WAL must not be given up on a guess
            slots.make_again(sql, self._cluster.receive.slot)
            slot = slots.look(sql, self._cluster.receive.slot)
            return ((slot.restart_lsn if slot else None) or 0) // size
        numbers = {parse_segment_name(name, size).number for name in there}
        return min(number for number in numbers if way.segment(number, size).name in there)

    def _archive_of(self, owner: SpoolOwner) -> WalArchive:
        facts = claim.Facts(owner.system_identifier, owner.major_version, owner.wal_segment_bytes, 0)
        copy = self._archive.required[0]
        return Destination(copy, owner.stanza, lambda: facts, owner.incarnation, self._clock).archive()

    def _first_begin(self, owner: SpoolOwner, found: Found) -> WalSegment:
        """Where an empty spool begins: behind what is archived, and no later than what the slot holds."""
        size = owner.wal_segment_bytes
        held = (found.slot.restart_lsn or found.server.position) // size
        archive = self._archive_of(owner)
        for leg in reversed(found.way.legs):
            end = held if leg.end is None else leg.end // size
            numbers = [parse_segment_name(each.file_name, size).number for each in archive.segments(leg.timeline)]
            behind = [number + 1 for number in numbers if number < end]
            if behind:
                return found.way.segment(min(held, behind[-1]), size)
        return found.way.segment(held, size)


def _not_ours(happened: str) -> IntegrityError:
    return IntegrityError(
        "checking the server to receive from",
        happened,
        "It is a former primary, a clone, or was restored: connect to the present primary. If it is this one, claim"
        " its timeline or a new incarnation, and start with an empty spool.",
        code="receiver_other_server",
    )
