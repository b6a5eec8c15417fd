# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to be known of a cluster to say whether everything is well: facts, gathered at one moment.

None means that a fact could not be learnt, which is never taken for a good one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...postgres.slots import Slot
from ...status_thresholds import Thresholds


@dataclass(frozen=True)
class ServerFacts:
    """What the running server says of itself."""

    major: int
    system_identifier: int
    in_recovery: bool
    segment: str | None = None  # the one that is being written
    segment_bytes: int = 16 << 20
    archive_mode: str | None = None
    archive_command: str | None = None
    last_archived: str | None = None
    last_archived_age: float | None = None  # seconds
    last_failed: str | None = None
    last_failed_age: float | None = None
    failing: bool = False
    archiver_is_known: bool = True  # False where only the replication protocol is open to us
    slot: Slot | None = None  # of a receiver
    slot_is_known: bool = True
    pending_restart: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class HostFacts:
    """What the data directory shows; there is none for a server whose files are out of reach."""

    running: bool
    claimed: bool = False
    waiting: int = 0  # files that the server wants archived
    oldest_wait: float | None = None  # seconds
    oldest: str | None = None
    pusher_alive: bool = False
    own_failure: str | None = None
    owed: dict[str, int] = field(default_factory=dict)  # repository -> files that it has not got yet
    given_up: dict[str, int] = field(default_factory=dict)  # dropped, and not recorded in the repository yet
    log: list[str] = field(default_factory=list)  # what the server's log says about archiving


@dataclass(frozen=True)
class ReceiverFacts:
    """What the receiver says of itself in its spool, when that is on this host."""

    alive: bool
    state: str
    troubles: list[str] = field(default_factory=list)
    waiting: int = 0  # segments that are in the spool only
    gaps: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BackupFacts:
    """The newest backup."""

    backup_id: str
    age: float  # seconds since its end
    backup_type: str
    damaged_pages: int
    missing_segments: list[str] = field(default_factory=list)  # behind it: no recovery passes them


@dataclass(frozen=True)
class RepositoryFacts:
    """One repository of the cluster."""

    name: str
    url: str
    required: bool
    error: str | None = None  # why nothing is known of it
    system_identifier: int | None = None  # None: it knows nothing of the stanza
    backups: int = 0  # of all of the stanza's lives
    newest: BackupFacts | None = None  # of the present one
    earliest: str | None = None  # the first point in time that can be recovered to
    last_segment: str | None = None
    gaps: list[str] = field(default_factory=list)  # recorded ones, in words


@dataclass(frozen=True)
class ClusterFacts:
    """All of it."""

    name: str
    stanza: str
    wal_method: str
    by_command: bool
    by_slot: bool
    slot_name: str
    server: ServerFacts | None
    server_error: str | None
    host: HostFacts | None
    repositories: list[RepositoryFacts]
    receiver: ReceiverFacts | None = None
    thresholds: Thresholds = Thresholds()
