# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Giving a cluster whose files are out of reach its place in the repository.

Nobody here can change such a server's settings or look after its command: its WAL comes to the
repository from its own host, or by way of `pg_receivewal`. Archiving needs to know whose WAL it
may take, and that is what is written here, proven by the server itself.
"""

from __future__ import annotations

from ...clock import Clock
from ...ports import ProgressSink
from ...postgres import replication
from ...report.events import PhaseStarted, Warned
from ...repository.access import stanza_of
from ...repository.wal import WalArchive
from ...specs import ClusterSpec, RepositorySpec
from .request import ArchivingResult


def run(
    cluster: ClusterSpec, repository: RepositorySpec, clock: Clock, sink: ProgressSink, *, check_mode: bool = False
) -> ArchivingResult:
    """Register the cluster unless it is; tell the newest WAL that has come."""
    sink.emit(PhaseStarted("checking", "server and repository"))
    stanza = stanza_of(repository, cluster.stanza)
    with replication.connect(cluster.connection, lambda text: sink.emit(Warned(text))) as session:
        server = session.inspect()
    life = stanza.current()
    if life is not None:
        stanza.require_same_cluster(life, server.system_identifier, server.major)
    elif check_mode:
        return ArchivingResult(True, registered=True)
    else:
        stanza.register(server.system_identifier, server.major, server.wal_segment_bytes, clock)
    registered = life is None
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
