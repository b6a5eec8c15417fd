# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From facts to findings: what is wrong, how bad it is, and what to do. Nothing is looked up here.

The reader has been woken at three in the morning and has never seen Lifeboat: each finding is one
sentence about what is the matter, and one about what to do next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...postgres.slots import UNRESERVED
from ...postgres.wal_names import parse_segment_name
from ...report.wording import duration_text, size_text
from ..archiving.settings import OURS
from .facts import BackupFacts, ClusterFacts, HostFacts, ReceiverFacts, RepositoryFacts, ServerFacts

OK, WARNING, CRITICAL = 0, 1, 2
STATES = ("ok", "warning", "critical")
# How full a slot's limit may be: from here on a warning, and critical.
_LIMIT_WARNING, _LIMIT_CRITICAL = 0.5, 0.8


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be."""

    level: int
    code: str
    what: str
    todo: str


@dataclass(frozen=True)
class Lag:
    """How far the archive is behind the server."""

    segments: int | None
    seconds: float | None


def judge(facts: ClusterFacts) -> list[Finding]:
    """Everything that somebody should know, the worst first."""
    found = [*_server(facts), *_archiving(facts), *_receiving(facts), *_repositories(facts), *_backups(facts)]
    return sorted(found, key=lambda finding: -finding.level)


def level_of(findings: list[Finding]) -> int:
    """The whole in one number."""
    return max((finding.level for finding in findings), default=OK)


def archive_lag(facts: ClusterFacts) -> Lag:
    """By the files that wait where they can be seen, else by what the server and the repositories say."""
    server, host = facts.server, facts.host
    if host is not None and facts.by_command:
        return Lag(host.waiting, host.oldest_wait or 0.0 if host.waiting else 0.0)
    if server is None or server.segment is None:
        return Lag(None, None)
    last = server.last_archived if facts.by_command and server.last_archived else None
    last = last or min((each.last_segment or "" for each in facts.repositories if each.required), default="")
    if len(last) < 24:
        return Lag(None, None)
    size = server.segment_bytes
    behind = parse_segment_name(server.segment, size).number - parse_segment_name(last[:24], size).number - 1
    waits = server.last_archived_age if facts.by_command and behind > 0 else None
    return Lag(max(0, behind), waits if behind > 0 else 0.0)


# --- the server


def _server(facts: ClusterFacts) -> Iterator[Finding]:
    server, host = facts.server, facts.host
    if host is not None and not host.running:
        yield Finding(
            CRITICAL,
            "server_stopped",
            "PostgreSQL is not running.",
            "Find out why in its log, and start it; if its data is lost, restore the newest backup (pg_restore, or"
            " lifeboat restore).",
        )
    elif server is None:
        yield Finding(
            CRITICAL,
            "server_unreachable",
            f"PostgreSQL does not answer: {facts.server_error}",
            "As long as it does not, whether WAL comes through is not known either.",
        )
    elif server.pending_restart:
        yield Finding(
            WARNING,
            "restart_pending",
            f"Settings wait for a restart of the server: {', '.join(server.pending_restart)}.",
            "Restart it when it suits you, then run pitr_configure again for the proof.",
        )
    for repository in facts.repositories:
        if server and repository.system_identifier not in (None, server.system_identifier):
            yield Finding(
                CRITICAL,
                "stanza_of_another_cluster",
                f"The repository {repository.name} has {facts.stanza} from another cluster (system identifier"
                f" {repository.system_identifier}, this server has {server.system_identifier}).",
                "If this is the same one after pg_upgrade, run pitr_configure with claim: incarnation and make a"
                " backup; else give this cluster a stanza of its own.",
            )


# --- WAL by archive_command


def _archiving(facts: ClusterFacts) -> Iterator[Finding]:
    server, host = facts.server, facts.host
    if not facts.by_command:
        return
    if host is not None and not host.claimed:
        yield Finding(
            CRITICAL,
            "cluster_not_claimed",
            "This data directory has no claim to an archive, so none of its WAL is taken: it was restored, copied or"
            " made by pg_upgrade, or archiving was never set up.",
            "Run pitr_configure; a restored cluster says what it is by claim: timeline or claim: incarnation, one after"
            " pg_upgrade takes claim: incarnation. The server keeps its WAL until then.",
        )
    if server is not None and not (server.in_recovery and server.archive_mode != "always"):
        wrong = list(_archive_settings(server))
        yield from wrong
        yield from _archive_progress(facts, server, host)
        if not wrong and (host is None or host.claimed):
            yield from _never_archived(facts, server)
    elif host is not None and host.waiting:
        yield Finding(
            WARNING,
            "wal_waiting",
            f"{_files(host.waiting)} of WAL are in the data directory only.",
            "They are archived once the server runs again; before its directory is removed, keep its pg_wal.",
        )
    if host is not None:
        yield from _debts(facts, host)


def _archive_settings(server: ServerFacts) -> Iterator[Finding]:
    if server.archive_mode == "off":
        what = "The server does not archive its WAL (archive_mode is off)."
    elif server.archive_command is not None and OURS not in server.archive_command:
        what = f"The server's archive_command is not Lifeboat's: {server.archive_command or 'it is empty'}."
    else:
        return
    yield Finding(
        CRITICAL,
        "not_archiving",
        what,
        "Run pitr_configure (or the playbook configure); until then nothing newer than the backups can be recovered.",
    )


def _archive_progress(facts: ClusterFacts, server: ServerFacts, host: HostFacts | None) -> Iterator[Finding]:
    lag, limits = archive_lag(facts), facts.thresholds
    late = max(limits.archive_lag.level(lag.seconds or 0.0), limits.archive_waiting.level(lag.segments or 0))
    if server.failing:
        reason = _reason(server, host)
        yield Finding(
            max(WARNING, late),
            "archiving_fails",
            f"Archiving fails: {_waits(lag)}, and {server.last_failed} could not be archived"
            f"{_ago(server.last_failed_age)}.{reason}",
            "Remove that cause; the server keeps its WAL and tries again by itself. Watch the space below pg_wal.",
        )
    elif late:
        idle = " No background process is at work." if host is not None and not host.pusher_alive else ""
        yield Finding(
            late,
            "archiving_lags",
            f"Archiving lags behind: {_waits(lag)}.{idle}",
            "See whether the repository is slow or away; what the background says is in pg_wal/lifeboat/push.log.",
        )


def _never_archived(facts: ClusterFacts, server: ServerFacts) -> Iterator[Finding]:
    nothing = server.archiver_is_known and server.last_archived is None
    if nothing and not server.failing and not archive_lag(facts).segments:
        yield Finding(
            WARNING,
            "nothing_archived_yet",
            "The server has not archived anything since its statistics began.",
            "Run pitr_configure: it proves the archive by a segment.",
        )


def _reason(server: ServerFacts, host: HostFacts | None) -> str:
    if host is None:
        return " See the server's log for the reason."
    said = f" Lifeboat says: {host.own_failure}" if host.own_failure else ""
    log = f" The server's log says: {host.log[-1]}" if host.log else ""
    return said or log or " See the server's log, and pg_wal/lifeboat/push.log, for the reason."


def _debts(facts: ClusterFacts, host: HostFacts) -> Iterator[Finding]:
    for name, files in sorted(host.owed.items()):
        if files:
            yield Finding(
                WARNING,
                "optional_repository_behind",
                f"The optional repository {name} lacks {_files(files)} of WAL.",
                "It gets them when it can be reached again; see pg_wal/lifeboat/push.log for why it could not.",
            )
    for name, files in sorted(host.given_up.items()):
        if files:
            yield Finding(
                CRITICAL,
                "wal_given_up",
                f"{_files(files)} of WAL were given up (wal_drop_after) and are not in {name}.",
                f"Bring {name} back and make a backup: lifeboat backup --cluster {facts.name}.",
            )


# --- WAL by a receiver


def _receiving(facts: ClusterFacts) -> Iterator[Finding]:
    if facts.by_slot and facts.receiver is not None and facts.receiver.alive:
        yield from _spooled(facts, facts.receiver)
    yield from _slot(facts)


def _spooled(facts: ClusterFacts, receiver: ReceiverFacts) -> Iterator[Finding]:
    late = facts.thresholds.archive_waiting.level(receiver.waiting)
    spooled = f"{_files(receiver.waiting)} of WAL {'is' if receiver.waiting == 1 else 'are'} in its spool only"
    if receiver.troubles:
        yield Finding(
            max(WARNING, late),
            "receiver_troubled",
            f"The receiver is in trouble, and {spooled}: {receiver.troubles[0]}",
            "Remove that cause; the receiver tries again by itself.",
        )
    elif late:
        yield Finding(
            late,
            "receiver_uploads_lag",
            f"The receiver's uploads lag behind: {spooled}.",
            "See whether the repository is slow or away; watch the space on the disk of the spool.",
        )


def _slot(facts: ClusterFacts) -> Iterator[Finding]:
    server = facts.server
    if not facts.by_slot or server is None or not server.slot_is_known:
        return
    only = CRITICAL if not facts.by_command else WARNING  # whether its WAL leaves the server in no other way
    slot, name = server.slot, facts.slot_name
    start = f"Start the receiver (lifeboat receive --cluster {facts.name}, or its systemd unit) and see its log."
    if slot is None:
        yield Finding(only, "slot_missing", f"The replication slot {name} does not exist.", "Run pitr_configure.")
        return
    kept = size_text(slot.retained_bytes or 0)
    if slot.lost:
        yield Finding(
            CRITICAL,
            "slot_lost",
            f"The replication slot {name} is lost: the server has removed WAL that was not received.",
            f"{start} It makes the slot again. Then make a backup: no recovery passes what is missing.",
        )
        return
    if slot.active_pid is None:
        yield Finding(
            only,
            "receiver_missing",
            f"Nobody receives from the replication slot {name}, which keeps {kept} of WAL on the server.",
            start,
        )
    level, of_limit = facts.thresholds.slot_lag.level(slot.retained_bytes or 0), ""
    if slot.limit_bytes:
        share = (slot.retained_bytes or 0) / slot.limit_bytes
        level = CRITICAL if share >= _LIMIT_CRITICAL else WARNING if share >= _LIMIT_WARNING else OK
        of_limit = f", {share:.0%} of max_slot_wal_keep_size ({size_text(slot.limit_bytes)})"
    if slot.wal_status == UNRESERVED:
        level = CRITICAL
    if level:
        end = "the slot is lost" if slot.limit_bytes else "the server's disk is full"
        yield Finding(
            level,
            "slot_lags",
            f"The receiver is behind: the replication slot {name} keeps {kept} of WAL{of_limit}.",
            f"{start} If it does not catch up, {end}.",
        )


# --- repositories and backups


def _repositories(facts: ClusterFacts) -> Iterator[Finding]:
    for repository in facts.repositories:
        if repository.error is not None:
            yield Finding(
                CRITICAL if repository.required else WARNING,
                "repository_unreachable",
                f"The repository {repository.name} cannot be read: {repository.error}",
                "Until it can, its backups are out of reach"
                + (" and the server keeps its WAL." if repository.required else "."),
            )


def _backups(facts: ClusterFacts) -> Iterator[Finding]:
    readable = [each for each in facts.repositories if each.error is None]
    newest = min((each.newest for each in readable if each.newest), key=lambda each: each.age, default=None)
    if newest is None:
        if readable:
            former = max(each.backups for each in readable)
            what = f"None of the {former} backups is of the cluster's present incarnation" if former else ""
            yield Finding(
                CRITICAL,
                "no_backup",
                f"{what or 'There is no backup'}: WAL alone cannot be restored.",
                f"Make one: lifeboat backup --cluster {facts.name}.",
            )
        return
    level = facts.thresholds.backup_age.level(newest.age)
    if level:
        yield Finding(
            level,
            "backup_too_old",
            f"The newest backup is {duration_text(newest.age)} old ({newest.backup_id}).",
            f"Find out why there is no newer one, and make one: lifeboat backup --cluster {facts.name}.",
        )
    if newest.damaged_pages:
        yield Finding(
            WARNING,
            "damaged_pages",
            f"The newest backup has {newest.damaged_pages} damaged pages: the database was damaged when it was made.",
            "See which relations in the backup's log; do not expire older backups before this is understood.",
        )
    for repository in readable:
        if repository.newest is not None:
            yield from _missing(facts, repository, repository.newest)


def _missing(facts: ClusterFacts, repository: RepositoryFacts, newest: BackupFacts) -> Iterator[Finding]:
    if newest.missing_segments:
        yield Finding(
            CRITICAL if repository.required else WARNING,
            "wal_missing",
            f"WAL is missing in {repository.name} behind the newest backup, from {newest.missing_segments[0]} on:"
            " nothing later than that can be recovered.",
            f"Make a backup: lifeboat backup --cluster {facts.name}. Then find out what became of that WAL.",
        )


# --- words


def _files(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"


def _waits(lag: Lag) -> str:
    if lag.segments is None:
        return "how much waits is not known"
    since = f", the oldest for {duration_text(lag.seconds)}" if lag.seconds else ""
    return f"{_files(lag.segments)} of WAL wait{since}"


def _ago(seconds: float | None) -> str:
    return f" {duration_text(seconds)} ago" if seconds is not None else ""
