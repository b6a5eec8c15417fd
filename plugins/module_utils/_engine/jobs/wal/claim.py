# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which incarnation a data directory archives into, and how it comes to one.

A restored clone has its original's system identifier, and a promoted one may have its timeline:
nothing in its WAL tells the two apart. So a data directory archives only with a claim, a small file
that no backup has. Whatever was restored is without one until somebody decides what it is:

- the same cluster, going on: it claims its *timeline*, by archiving the timeline's history file.
  Somebody else's history under that name refuses it.
- a cluster of its own, under the same stanza: it claims a new *incarnation*, as does a cluster that
  pg_upgrade has given a new system identifier.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ... import durable, wal_spool
from ...clock import Clock
from ...errors import IntegrityError, PreconditionError
from ...postgres import control_file, old_targets, wal_names
from ...repository.access import stanza_of
from ...repository.stanza import Incarnation, Stanza
from ...repository.wal import WalArchive
from ...specs import ArchiveSpec

TIMELINE, INCARNATION = "timeline", "incarnation"


@dataclass(frozen=True)
class Facts:
    """What a life of a cluster is registered with."""

    system_identifier: int
    major_version: int
    wal_segment_bytes: int
    timeline: int


def facts_of(data_directory: Path) -> Facts:
    """As the data directory has them."""
    control = control_file.read(data_directory)
    # Right after a promotion the control file has the old timeline still, but the new history is there.
    histories = [int(path.name[:8], 16) for path in (data_directory / "pg_wal").glob("????????.history")]
    return Facts(
        control.system_identifier,
        control_file.version(data_directory),
        control.wal_segment_size,
        max([control.timeline, *histories]),
    )


def claimed(data_directory: Path) -> str | None:
    """The incarnation that a data directory has claimed; None without a claim."""
    try:
        life = wal_spool.claimed_life(str(data_directory))
    except OSError as exc:
        raise control_file.unreadable(data_directory / wal_spool.CLAIM_FILE, exc) from exc
    return life.partition("-")[2] if life else None


def require_claimed(data_directory: Path) -> str:
    """The incarnation's id, once it is certain that the claim is this cluster's own."""
    incarnation = claimed(data_directory)
    if incarnation is None:
        raise _not_claimed(f"archiving WAL of {data_directory}", "it has no claim to an archive.")
    identifier = control_file.read(data_directory).system_identifier
    if wal_spool.claimed_life(str(data_directory)) != wal_spool.life_name(identifier, incarnation):
        raise IntegrityError(
            f"archiving WAL of {data_directory}",
            f"its file {wal_spool.CLAIM_FILE} is of another cluster than this one ({identifier}).",
            "It was copied there, perhaps around pg_upgrade. Remove it, then claim a new incarnation: pitr_configure"
            " with claim: incarnation, or lifeboat claim incarnation.",
            code="claim_of_another_cluster",
        )
    return incarnation


def require_life(stanza: Stanza, incarnation: str, facts: Callable[[], Facts], clock: Clock) -> Incarnation:
    """The claimed life as the repository knows it. A repository that knows none of the stanza's is told of it."""
    lives = stanza.incarnations()
    for life in lives:
        if life.incarnation == incarnation:
            return life
    if lives:
        raise _not_claimed(
            f"archiving into the stanza {stanza.name} of {stanza.repository.store.url}",
            f"it knows nothing of the incarnation {incarnation}.",
        )
    found = facts()
    return stanza.register(found.system_identifier, found.major_version, found.wal_segment_bytes, clock, incarnation)


def known_life(stanza: Stanza, data_directory: Path) -> Incarnation:
    """The life that a server's backups belong to: the claimed one, or the newest where there is no claim."""
    incarnation = claimed(data_directory)
    for life in stanza.incarnations() if incarnation else ():
        if life.incarnation == incarnation:
            return life
    return stanza.require_registered()


def plan(stanza: Stanza, data_directory: Path, facts: Facts, how: str | None) -> str | None:
    """What has to be claimed before this cluster may archive, None when nothing; refuses what must not be guessed."""
    lives = stanza.incarnations()
    present = claimed(data_directory)
    own = present and wal_spool.life_name(facts.system_identifier, present)
    if present and wal_spool.claimed_life(str(data_directory)) == own:
        known = [life for life in lives if life.incarnation == present]
        if known:
            stanza.require_same_cluster(known[0], facts.system_identifier, facts.major_version)
        if known or not lives:
            return None
    if not lives:
        return INCARNATION
    if how != INCARNATION:
        stanza.require_same_cluster(lives[-1], facts.system_identifier, facts.major_version)
    if how is None and _is_empty(WalArchive(stanza, lives[-1])):
        return TIMELINE  # registered, as by somebody who cannot see the data directory, and used by nobody yet
    if how is None:
        raise _not_claimed(
            f"setting up archiving into the stanza {stanza.name} of {stanza.repository.store.url}",
            "the stanza has an archive already, and this data directory has no claim to it: it was restored, copied"
            " or upgraded.",
        )
    return how


def plan_all(stanzas: Sequence[Stanza], data_directory: Path, facts: Facts, how: str | None) -> str | None:
    """The same for all of a cluster's repositories."""
    wanted = [plan(stanza, data_directory, facts, how) for stanza in stanzas]
    return next(filter(None, wanted), None)


def run(archive: ArchiveSpec, stanza: str, data_directory: Path, how: str, clock: Clock) -> str:
    """Claim in all of a cluster's repositories, if it has no claim yet; returns the incarnation's id."""
    stanzas = [stanza_of(copy.repository, stanza) for copy in archive.copies]
    facts = facts_of(data_directory)
    wanted = plan_all(stanzas, data_directory, facts, how)
    if wanted is None:
        return require_claimed(data_directory)
    return make(stanzas, data_directory, facts, wanted, clock)


def make(stanzas: Sequence[Stanza], data_directory: Path, facts: Facts, how: str, clock: Clock) -> str:
    """Claim in the repositories, then in the data directory; returns the incarnation's id."""
    if any((data_directory / name).exists() for name in ("recovery.signal", "standby.signal")):
        raise PreconditionError(
            f"claiming an archive for {data_directory}",
            "this cluster is a standby or in recovery.",
            "Promote it first.",
            code="server_in_recovery",
        )
    current = stanzas[0].current()
    if how == INCARNATION or current is None:
        incarnation = None
        for stanza in stanzas:
            incarnation = stanza.begin_another(
                facts.system_identifier, facts.major_version, facts.wal_segment_bytes, clock, incarnation
            ).incarnation
    else:
        incarnation = current.incarnation
        for stanza in stanzas:
            _claim_timeline(stanza, require_life(stanza, incarnation, lambda: facts, clock), data_directory, facts)
    life = wal_spool.life_name(facts.system_identifier, str(incarnation))
    wal_spool.forget_acknowledgements(str(data_directory))
    old_targets.forget(data_directory)
    durable.write_file(data_directory / wal_spool.CLAIM_FILE, wal_spool.claim_text(life).encode(), 0o600)
    return str(incarnation)


def _claim_timeline(stanza: Stanza, life: Incarnation, data_directory: Path, facts: Facts) -> None:
    """A timeline belongs to whoever archives its history; another content under its name is an error."""
    archive, attempted = WalArchive(stanza, life), f"claiming the timeline {facts.timeline} of {stanza.name}"
    name = wal_names.history_name(facts.timeline)
    path = data_directory / "pg_wal" / name
    if _is_empty(archive):
        return
    if facts.timeline == 1 or not path.exists():
        raise PreconditionError(
            attempted,
            "it has no history file: this cluster has not been promoted since it left the original.",
            "Claim a new incarnation instead (claim: incarnation).",
            code="timeline_not_new",
        )
    if archive.find(name) is None and next(archive.segments(facts.timeline), None) is not None:
        raise _timeline_taken(attempted, "it has segments of another server already.")
    try:
        archive.store(name, path.read_bytes())
    except IntegrityError as exc:
        if exc.code != "wal_conflict":
            raise
        raise _timeline_taken(attempted, "another server has archived its own history of it.") from exc
    if next(archive.segments(facts.timeline), None) is not None:
        raise _timeline_taken(attempted, "it has segments already, which another server has archived.")


def _is_empty(archive: WalArchive) -> bool:
    return not archive.timelines() and next(archive.histories(), None) is None


def _timeline_taken(attempted: str, happened: str) -> IntegrityError:
    return IntegrityError(
        attempted,
        happened,
        "Find out which server goes on under this stanza. If it is this one, claim a new incarnation (claim:"
        " incarnation); otherwise give this one a stanza of its own.",
        code="timeline_taken",
    )


def _not_claimed(attempted: str, happened: str) -> PreconditionError:
    return PreconditionError(
        attempted,
        happened,
        "If this server takes the original's place, claim its timeline (pitr_configure with claim: timeline, or"
        " lifeboat claim timeline); after pg_upgrade, or if the original lives on under this stanza, claim a new"
        " incarnation (claim: incarnation); otherwise give it a stanza of its own.",
        code="cluster_not_claimed",
    )
