# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gathering what there is to know of a cluster: from its server, its data directory and its repositories.

Whatever cannot be reached is noted as such, and the rest is looked at all the same: this is for the
moment when something is wrong. Nothing is changed.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any

from ... import wal_spool
from ...clock import Clock, parse_utc
from ...errors import LifeboatError
from ...postgres import archiver, postmaster_pid, replication, server_log, slots
from ...postgres.connection import Connection, connect
from ...postgres.wal_names import segment_of
from ...repository.access import stanza_of
from ...repository.stanza import Incarnation, Stanza
from ...repository.wal import WalArchive
from ...specs import ArchiveSpec, ClusterSpec, WalCopy
from ...wal_spool import WalSpool
from ..receive.spool import ReceiveSpool
from ..restore import choose
from .facts import BackupFacts, ClusterFacts, HostFacts, ReceiverFacts, RepositoryFacts, ServerFacts

THIRD_PARTY = ("psycopg", "psycopg.sql")
_MOST_NAMED = 100
_SERVER = f"""
SELECT current_setting('server_version_num')::int / 10000, (SELECT system_identifier FROM pg_control_system()),
       pg_is_in_recovery(),
       CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END,
       (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'),
       (SELECT setting FROM pg_settings WHERE name = 'archive_mode'),
       (SELECT setting FROM pg_settings WHERE name = 'archive_command'),
       last_archived_wal, extract(epoch FROM now() - last_archived_time)::float8,
       last_failed_wal, extract(epoch FROM now() - last_failed_time)::float8,
       {archiver.FAILING},
       (SELECT coalesce(array_agg(name ORDER BY name), '{{}}') FROM pg_settings WHERE pending_restart)
  FROM pg_stat_archiver
"""


def gather(cluster: ClusterSpec, archive: ArchiveSpec, clock: Clock) -> ClusterFacts:
    """Everything, as far as it can be had."""
    directory = cluster.data_directory if cluster.method != "stream" else None
    running = directory is None or postmaster_pid.is_running(directory)
    server, error, log = None, None, list[str]()
    if running:
        server, error, log = _server(cluster, directory)
    host = _host(directory, server, log, archive, running=running) if directory is not None else None
    return ClusterFacts(
        name=cluster.name,
        stanza=cluster.stanza,
        wal_method=cluster.receive.wal_method,
        by_command=cluster.receive.archives and not (cluster.method == "stream" and not _archives(server)),
        by_slot=cluster.receive.streams,
        slot_name=cluster.receive.slot,
        server=server,
        server_error=error,
        host=host,
        repositories=[
            _repository(copy, cluster, clock, directory, required=copy in archive.required) for copy in archive.copies
        ],
        receiver=_receiver(cluster) if cluster.receive.streams else None,
        thresholds=cluster.thresholds,
    )


def _archives(server: ServerFacts | None) -> bool:
    """Of a server that is elsewhere: whether it archives at all, by whatever is on its host."""
    return server is not None and server.archive_mode in ("on", "always")


# --- the server


def _server(cluster: ClusterSpec, directory: Path | None) -> tuple[ServerFacts | None, str | None, list[str]]:
    """What it says; why it does not answer; and what its log says of archiving, when that fails."""
    slot = cluster.receive.slot if cluster.receive.streams else None
    unreachable = ""
    try:
        with connect(cluster.connection, directory) as connection:
            facts = _asked(connection, slot)
            lines = server_log.tail(connection, directory) if facts.failing else []
            return facts, None, server_log.about(lines, "archive", "lifeboat")
    except LifeboatError as exc:
        if directory is not None:
            return None, exc.happened, []
        unreachable = exc.happened
    try:  # a role for replication only may not come in by SQL
        with replication.connect(cluster.connection, lambda _text: None) as session:
            found = session.inspect()
    except LifeboatError:
        return None, unreachable, []
    segment = segment_of(found.position, found.timeline, found.wal_segment_bytes).name
    return (
        ServerFacts(
            found.major,
            found.system_identifier,
            found.in_recovery,
            segment,
            found.wal_segment_bytes,
            found.archive_mode,
            slot=None,
            slot_is_known=False,
            archiver_is_known=False,
        ),
        None,
        [],
    )


def _asked(connection: Connection, slot: str | None) -> ServerFacts:
    row: tuple[Any, ...] = connection.row("asking the server how it is", _SERVER)
    return ServerFacts(
        major=row[0],
        system_identifier=int(row[1]),
        in_recovery=row[2],
        segment=row[3],
        segment_bytes=row[4],
        archive_mode=row[5],
        archive_command=row[6],
        last_archived=row[7],
        last_archived_age=row[8],
        last_failed=row[9],
        last_failed_age=row[10],
        failing=row[11],
        slot=slots.look(connection, slot) if slot is not None else None,
        pending_restart=list(row[12]),
    )


# --- the data directory


def _host(
    directory: Path, server: ServerFacts | None, log: list[str], archive: ArchiveSpec, *, running: bool
) -> HostFacts:
    life = wal_spool.claimed_life(str(directory))
    spool = WalSpool(str(directory), life or "")
    waiting: list[tuple[float, str]] = []
    with contextlib.suppress(OSError):
        for name in spool.ready():
            with contextlib.suppress(OSError):  # archived meanwhile
                if not spool.is_acknowledged(name, os.stat(f"{spool.wal}/{name}")):
                    waiting.append((os.stat(f"{spool.wal}/archive_status/{name}.ready").st_mtime, name))
    oldest = min(waiting, default=None)
    failed = [server.last_failed or ""] if server is not None and server.failing else []
    failures = (spool.failure(name) for name in (*failed, *(each[1] for each in waiting)) if name)
    return HostFacts(
        running=running,
        claimed=life is not None,
        waiting=len(waiting),
        oldest_wait=max(0.0, time.time() - oldest[0]) if oldest else None,
        oldest=oldest[1] if oldest else None,
        pusher_alive=wal_spool.ring(spool.bell(wal_spool.PUSH), ""),
        own_failure=next(filter(None, failures), None),
        owed={copy.name: _count(spool.owed(copy.name)) for copy in archive.optional},
        given_up={copy.name: _count(spool.dropped(copy.name)) for copy in archive.copies},
        log=log,
    )


def _receiver(cluster: ClusterSpec) -> ReceiverFacts | None:
    """Its own word; None where there is none, as when it is on another host."""
    try:
        said = json.loads(ReceiveSpool(cluster.receive.spool).status.read_text(encoding="utf-8"))
        os.kill(int(said["pid"]), 0)
        alive = True
    except ProcessLookupError:
        alive = False
    except PermissionError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return ReceiverFacts(
        alive, str(said["state"]), list(said["troubles"]), len(said["waiting_segments"]), list(said["gaps"])
    )


def _count(folder: str) -> int:
    with contextlib.suppress(OSError):
        return sum(not name.startswith(".") for name in os.listdir(folder))
    return 0


# --- the repositories


def _life(stanza: Stanza, directory: Path | None) -> Incarnation | None:
    """The one that this cluster has claimed, as far as that can be seen, else the stanza's newest."""
    lives = stanza.incarnations()
    life = wal_spool.claimed_life(str(directory)) if directory is not None else None
    own = [each for each in lives if each.incarnation == life.partition("-")[2]] if life else []
    return [*lives, *own][-1] if lives else None


def _repository(
    copy: WalCopy, cluster: ClusterSpec, clock: Clock, directory: Path | None, *, required: bool
) -> RepositoryFacts:
    url = copy.repository.url
    try:
        stanza = stanza_of(copy.repository, cluster.stanza, only_lists=True)
        life = _life(stanza, directory)
        if life is None:
            return RepositoryFacts(copy.name, url, required)
        headers, archive = stanza.headers(), WalArchive(stanza, life)
        newest = None
        own_headers = [header for header in headers if header.incarnation == life.incarnation]
        if own_headers:
            header = own_headers[-1]
            own = WalArchive(stanza, choose.life_of(stanza, header))
            newest = BackupFacts(
                header.backup_id,
                max(0.0, (clock.now() - parse_utc(header.finished)).total_seconds()),
                header.backup_type,
                header.damaged_pages,
                list(choose.gaps(own, header))[:_MOST_NAMED],
            )
        timelines = archive.timelines()
        segments = [each.file_name for each in archive.segments(timelines[-1])] if timelines else []
        return RepositoryFacts(
            copy.name,
            url,
            required,
            system_identifier=life.system_identifier,
            backups=len(headers),
            newest=newest,
            earliest=headers[0].stop_time if headers else None,
            last_segment=segments[-1] if segments else None,
            gaps=[
                f"{gap.files[0]} to {gap.files[-1]}, given up until {gap.until} ({gap.reason})"
                for gap in archive.recorded_gaps()
            ],
        )
    except LifeboatError as exc:
        return RepositoryFacts(copy.name, url, required, error=f"{exc.happened} [{exc.code}]")
