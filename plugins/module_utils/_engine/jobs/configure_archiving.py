# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL archiving in the desired state, proven by a segment that arrives in the repository."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .. import wal_spool
from ..clock import Clock
from ..errors import LifeboatError, PreconditionError, UnsupportedError
from ..ports import ProcessRunner, ProgressSink
from ..postgres import archiver, programs, service
from ..postgres.connection import Connection, connect
from ..postgres.server import Server, inspect
from ..report.events import PhaseStarted
from ..repository.access import stanza_of
from ..repository.stanza import Stanza
from ..repository.wal import WalArchive
from ..specs import ArchiveSpec, ClusterSpec, RepositorySpec, WalCopy
from . import claim
from .wal_wait import wait_for_segments

_OURS = " archive-push "
_RESTART_SECONDS = 300
THIRD_PARTY = ("psycopg", "psycopg.sql")


@dataclass(frozen=True)
class ArchivingRequest:
    """What the user wants."""

    cluster: ClusterSpec
    repository: RepositorySpec
    agent: Path
    push_options: Sequence[str]
    archive: ArchiveSpec | None = None  # everywhere that WAL goes; only `repository` unless given
    claim: str | None = None
    archive_timeout: int = 60
    restart_allowed: bool = False
    replace_archiver: bool = False
    proof_timeout: float = 60.0


@dataclass(frozen=True)
class ArchivingResult:
    """The settings before and after, and the proof; in check mode, what would be."""

    changed: bool
    before: dict[str, str]
    after: dict[str, str]
    restart_required: bool = False
    restarted: bool = False
    registered: bool = False
    proven_segment: str | None = None
    incarnation: str | None = None


@dataclass
class _Plan:
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    restart: bool = False
    claim: str | None = None  # what is to be claimed
    incarnation: str | None = None  # known unless a new one is to be claimed

    @property
    def register(self) -> bool:
        return self.claim is not None

    @property
    def changed(self) -> bool:
        return self.before != self.after or self.register


def archive_command(agent: Path, push_options: Sequence[str]) -> str:
    """The shell line PostgreSQL runs for each segment; it names files, never secrets.

    What the background has archived already costs no more than a look. The acknowledgement has to be newer than
    the file, which is not any earlier one of its name then.
    """
    words = " ".join(shlex.quote(word).replace("%", "%%") for word in (str(agent), "archive-push", *push_options))
    return f'test "{wal_spool.ACKNOWLEDGEMENT}" -nt "%p" || exec {words} "%p"'


def run(
    request: ArchivingRequest, clock: Clock, runner: ProcessRunner, sink: ProgressSink, *, check_mode: bool = False
) -> ArchivingResult:
    """Compare, change what differs, restart if allowed and needed, prove."""
    sink.emit(PhaseStarted("checking", "server, repository and command"))
    copies = request.archive.copies if request.archive else (WalCopy("main", request.repository),)
    stanzas = [stanza_of(copy.repository, request.cluster.stanza) for copy in copies]
    with connect(request.cluster.connection, request.cluster.data_directory) as connection:
        server = inspect(connection, request.cluster.data_directory)
        plan = _plan(request, stanzas, server, connection)
        may_restart = plan.restart and request.restart_allowed
        if check_mode:
            return ArchivingResult(
                plan.changed,
                plan.before,
                plan.after,
                restart_required=plan.restart and not may_restart,
                restarted=may_restart,
                registered=plan.register,
            )
        _require_working_agent(request, runner)
        if plan.claim is not None:
            sink.emit(PhaseStarted("claiming", f"the archive as a new {plan.claim}"))
            facts = claim.facts_of(server.data_directory)
            plan.incarnation = claim.make(stanzas, server.data_directory, facts, plan.claim, clock)
        changes = {name: value for name, value in plan.after.items() if plan.before[name] != value}
        if changes:
            sink.emit(PhaseStarted("changing settings", ", ".join(changes)))
            for name, value in changes.items():
                connection.alter_system(name, value)
            connection.rows("reloading the configuration", "SELECT pg_reload_conf()")
    if plan.restart and not may_restart:
        return ArchivingResult(
            True,
            plan.before,
            plan.after,
            restart_required=True,
            registered=plan.register,
            incarnation=plan.incarnation,
        )
    if may_restart:
        sink.emit(PhaseStarted("restarting the server", str(server.data_directory)))
        service.restart(
            programs.find(server.major, request.cluster.bin_directory, server.data_directory),
            server.data_directory,
            runner,
            _RESTART_SECONDS,
        )
    with connect(request.cluster.connection, request.cluster.data_directory) as connection:
        segment = _prove(request, stanzas, plan, server.data_directory, connection, clock, sink)
    return ArchivingResult(
        plan.changed,
        plan.before,
        plan.after,
        restarted=may_restart,
        registered=plan.register,
        proven_segment=segment,
        incarnation=plan.incarnation,
    )


def _plan(request: ArchivingRequest, stanzas: Sequence[Stanza], server: Server, connection: Connection) -> _Plan:
    """What differs from the desired state, after refusing what must not be changed."""
    attempted = f"setting up WAL archiving for {request.cluster.name}"
    if server.in_recovery:
        raise UnsupportedError(
            attempted,
            "the server is a standby.",
            "Set up archiving on the primary.",
            code="standby_source_unsupported",
        )
    (superuser,) = connection.row(attempted, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    if not superuser:
        raise PreconditionError(
            attempted,
            f"the role {request.cluster.connection.user} is no superuser, so it cannot use ALTER SYSTEM.",
            "Give login_user a superuser.",
            code="role_lacks_privilege",
        )
    settings = dict(server.settings)
    _require_no_foreign_archiver(request, settings, attempted)
    facts = claim.facts_of(server.data_directory)
    plan = _Plan(claim=claim.plan_all(stanzas, server.data_directory, facts, request.claim))
    if plan.claim is None:
        plan.incarnation = claim.claimed(server.data_directory)
    elif plan.claim == claim.TIMELINE:
        plan.incarnation = stanzas[0].require_registered().incarnation
    wanted = {
        "archive_command": archive_command(request.agent, request.push_options),
        "archive_mode": "always" if settings["archive_mode"] == "always" else "on",
        "archive_timeout": str(request.archive_timeout),
        "wal_level": settings["wal_level"] if settings["wal_level"] != "minimal" else "replica",
    }
    if settings.get("archive_library"):
        wanted["archive_library"] = ""
    plan.before = {name: settings[name] for name in wanted}
    plan.after = wanted
    plan.restart = any(plan.before[name] != wanted[name] for name in ("archive_mode", "wal_level"))
    return plan


def _require_no_foreign_archiver(request: ArchivingRequest, settings: dict[str, str], attempted: str) -> None:
    """Another tool's archiving is never taken over by accident."""
    command, library = settings["archive_command"], settings.get("archive_library", "")
    foreign = library or (command if command not in ("", "(disabled)") and _OURS not in command else "")
    if foreign and not request.replace_archiver:
        raise PreconditionError(
            attempted,
            f"the server already archives with another program: {foreign}.",
            "If Lifeboat shall take over, set replace_archiver: true; the other archive will get no more WAL.",
            code="foreign_archiver",
            archiver=foreign,
        )


def _require_working_agent(request: ArchivingRequest, runner: ProcessRunner) -> None:
    """Run the very program that archive_command will run, before the server depends on it."""
    attempted = f"trying the command {request.agent}"
    if not request.agent.exists():
        raise PreconditionError(
            attempted,
            "it does not exist.",
            "Install it with the module lifeboat_agent, or set agent_command to where it is.",
            code="agent_missing",
        )
    try:
        runner.run([str(request.agent), "info", "--json", *request.push_options], attempted=attempted, timeout=60)
    except LifeboatError as exc:
        raise PreconditionError(
            attempted,
            exc.happened,
            "Remove the cause; nothing was changed in the server.",
            code="agent_not_working",
        ) from exc


def _prove(
    request: ArchivingRequest,
    stanzas: Sequence[Stanza],
    plan: _Plan,
    data_directory: Path,
    connection: Connection,
    clock: Clock,
    sink: ProgressSink,
) -> str | None:
    """Switch to a new segment and wait for the finished one, unless nothing changed and archiving works."""
    settings: dict[str, str] = dict(
        connection.rows(
            "reading the settings", "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", list(plan.after)
        )
    )
    for name, value in plan.after.items():
        if settings[name] != value:
            raise PreconditionError(
                f"setting {name}",
                f"it is still {settings[name]!r}: another setting overrides postgresql.auto.conf.",
                "Remove it from the server's command line.",
                code="setting_not_effective",
                setting=name,
            )
    state = archiver.status(connection)
    if not plan.changed and state.last_archived and not state.failing:
        return state.last_archived
    required = stanzas[: len(request.archive.required)] if request.archive else stanzas
    sink.emit(PhaseStarted("proving the archive", "switching WAL and waiting for the segment"))
    connection.rows("writing a restore point", "SELECT pg_create_restore_point('lifeboat: archiving configured')")
    (segment,) = connection.row("asking for the current segment", "SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
    connection.rows("switching WAL", "SELECT pg_switch_wal()")
    for stanza in required:
        life = claim.require_life(stanza, str(plan.incarnation), lambda: claim.facts_of(data_directory), clock)
        archive = WalArchive(stanza, life)
        wait_for_segments(
            archive, [segment], lambda: archiver.status(connection).describe_failure(), clock, request.proof_timeout
        )
    return str(segment)
