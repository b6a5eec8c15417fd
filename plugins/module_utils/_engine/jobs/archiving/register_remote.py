# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Giving a cluster whose files are out of reach its place in the repository.

Nobody here can change such a server's settings or look after its command: its WAL comes to the
repository from its own host, or by way of `pg_receivewal`. Archiving needs to know whose WAL it
may take, and that is what is written here, proven by the server itself. After pg_upgrade it has
another identity, and begins a new life when it is told to.
"""

from __future__ import annotations

from ...clock import Clock
from ...ports import ProgressSink
from ...postgres import replication
from ...postgres.replication import RemoteServer
from ...report.events import PhaseStarted, Warned
from ...repository.access import stanza_of
from ...repository.stanza import Incarnation, Stanza
from ...repository.wal import WalArchive
from ..wal.claim import INCARNATION
from .request import ArchivingRequest, ArchivingResult


def run(request: ArchivingRequest, clock: Clock, sink: ProgressSink, *, check_mode: bool = False) -> ArchivingResult:
    """Register the cluster unless it is; tell the newest WAL that has come."""
    sink.emit(PhaseStarted("checking", "server and repository"))
    cluster = request.cluster
    stanzas = _stanzas(request)
    stanza = stanzas[0]
    with replication.connect(cluster.connection, lambda text: sink.emit(Warned(text))) as session:
        server = session.inspect()
    # Nothing but its identity tells a life here: what has the same as before goes on in it.
    reborn = [each for each in stanzas if request.claim == INCARNATION and not _is_same(each.current(), server)]
    life = stanza.current()
    registered = bool(reborn) or life is None
    if life is not None and stanza not in reborn:
        stanza.require_same_cluster(life, server.system_identifier, server.major)
    if registered and check_mode:
        return ArchivingResult(True, registered=True)
    facts = server.system_identifier, server.major, server.wal_segment_bytes
    if life is None:
        stanza.register(*facts, clock)
    known = None if stanza in reborn else stanza.require_registered().incarnation
    for each in reborn:
        known = each.begin_another(*facts, clock, known).incarnation
    archive = WalArchive(stanza, stanza.require_registered())
    newest = [segment.file_name for timeline in archive.timelines()[-1:] for segment in archive.segments(timeline)]
    if not newest:
        sink.emit(
            Warned(
                f"no WAL of {cluster.stanza} has come to the repository yet (the server's archive_mode is"
                f" {server.archive_mode}); until it does, no backup can be made"
            )
        )
    return ArchivingResult(
        registered,
        registered=registered,
        proven_segment=newest[-1] if newest else None,
        incarnation=archive.life.incarnation,
    )


def _stanzas(request: ArchivingRequest) -> list[Stanza]:
    """The main one first; the others are of interest only when a new life begins, and need not be there before."""
    copies = request.copies.copies if request.claim == INCARNATION else request.copies.copies[:1]
    return [stanza_of(copy.repository, request.cluster.stanza) for copy in copies]


def _is_same(life: Incarnation | None, server: RemoteServer) -> bool:
    """Whether nothing new begins; a repository without any life is told of one when its first WAL comes."""
    return life is None or (life.system_identifier, life.major_version) == (server.system_identifier, server.major)
