# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL archiving in the desired state, proven by a segment that arrives in the repository.

First everything is looked at, and everything refused that has to be; up to there check mode is the
same. Then the claim, the settings, a restart if there has to be one, the replication slot, the proof.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ... import wal_spool
from ...clock import Clock
from ...errors import LifeboatError, PreconditionError, UnsupportedError
from ...ports import ProcessRunner, ProgressSink
from ...postgres import patroni, programs, service, settings_note, slots
from ...postgres import settings as server_settings
from ...postgres.connection import Connection, connect
from ...postgres.server import Server, inspect
from ...postgres.settings import Setting
from ...report.events import PhaseStarted, Warned
from ...repository.access import stanza_of
from ...repository.stanza import Stanza
from ...repository.wal import WalArchive
from ..wal import claim
from ..wal.proof import Proof, require_effect
from . import register_remote
from . import settings as archiving_settings
from .request import NEVER, WHEN_NEEDED, ArchivingRequest, ArchivingResult
from .settings import ARCHIVE_SETTINGS, MANAGED, SettingsPlan

_RESTART_SECONDS = 300
THIRD_PARTY = ("psycopg", "psycopg.sql")


@dataclass
class _Plan:
    """What has to happen, in this order."""

    settings: SettingsPlan
    slot: str | None = None  # the one that is to be there
    slot_is_missing: bool = False
    slot_to_drop: str | None = None
    noted_slot: str | None = None  # the one that the note on the server has from now on
    claim: str | None = None  # what is to be claimed
    incarnation: str | None = None  # known unless a new one is to be claimed
    registered: bool = False

    @property
    def register(self) -> bool:
        return self.registered or self.claim is not None

    def makes_slot(self, *, restarts: bool) -> bool:
        """Whether the slot comes with this run: not before the server has the settings that it needs."""
        return self.slot_is_missing and (restarts or not self.settings.restart)


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
    place = None
    if request.is_remote and not request.absent:
        only = not request.cluster.receive.streams and not request.options.any()
        # With settings to look after, nothing is written before they have been looked at.
        looks = check_mode or not only
        place = register_remote.run(request, clock, sink, check_mode=looks)
        if only:
            return place
    return _Configuring(request, clock, runner, sink).run(place, check_mode=check_mode)


class _Configuring:
    """One run."""

    def __init__(self, request: ArchivingRequest, clock: Clock, runner: ProcessRunner, sink: ProgressSink) -> None:
        self._request = request
        self._cluster = request.cluster
        self._clock = clock
        self._runner = runner
        self._sink = sink
        self._directory = None if request.is_remote else self._cluster.data_directory
        self._by_command = self._cluster.receive.archives and not request.absent

    def run(self, place: ArchivingResult | None, *, check_mode: bool) -> ArchivingResult:
        self._sink.emit(PhaseStarted("checking", "server, repository and command"))
        request = self._request
        names = () if request.absent else request.copies.copies
        stanzas = [stanza_of(copy.repository, self._cluster.stanza) for copy in names]
        with self._connect() as connection:
            server = inspect(connection, self._directory, files=not request.is_remote)
            plan = self._plan(stanzas, server, connection)
            if place is not None:
                plan.registered, plan.incarnation = place.registered, place.incarnation
            for text in plan.settings.warnings:
                self._sink.emit(Warned(text))
            restarts = self._restarts(plan)
            if request.absent and "archive_mode" in plan.settings.restart and not restarts:
                self._sink.emit(Warned("until the server is restarted it keeps all of its WAL: nobody archives it"))
            if self._by_command and not request.is_remote:
                _require_working_agent(request, self._runner)
            if check_mode:
                return self._result(plan, restarts=restarts)
            self._apply(plan, stanzas, server, connection)
        if plan.settings.restart and not restarts:
            return self._result(plan, restarts=False)
        if restarts:
            self._restart(server)
        with self._connect() as connection:
            require_effect(connection, plan.settings.after, self._clock)
            if plan.slot_is_missing and plan.slot is not None:
                self._sink.emit(PhaseStarted("making the replication slot", plan.slot))
                slots.ensure(connection, plan.slot)
            if request.absent:
                return self._result(plan, restarts=restarts)
            segment = self._proof(plan, stanzas, connection).show(
                changed=self._result(plan, restarts=restarts).changed, slot_is_new=plan.slot_is_missing
            )
        return self._result(plan, restarts=restarts, segment=segment)

    def _connect(self) -> contextlib.AbstractContextManager[Connection]:
        return connect(self._cluster.connection, self._directory)

    def _result(self, plan: _Plan, *, restarts: bool, segment: str | None = None) -> ArchivingResult:
        makes_slot = plan.makes_slot(restarts=restarts)
        return ArchivingResult(
            bool(plan.settings.writes or plan.register or makes_slot or plan.slot_to_drop or restarts),
            plan.settings.before,
            plan.settings.after,
            restart_required=bool(plan.settings.restart) and not restarts,
            restarted=restarts,
            registered=plan.register,
            proven_segment=segment,
            incarnation=plan.incarnation,
            slot_before=plan.slot_to_drop or (None if plan.slot_is_missing else plan.slot),
            slot_after=plan.slot if makes_slot or not plan.slot_is_missing else None,
        )

    # --- looking

    def _plan(self, stanzas: Sequence[Stanza], server: Server, connection: Connection) -> _Plan:
        """What differs from the desired state, after refusing what must not be changed."""
        request = self._request
        attempted = f"setting up WAL archiving for {self._cluster.name}"
        if server.in_recovery and not request.absent:
            raise UnsupportedError(
                attempted,
                "the server is a standby.",
                "Set up archiving on the primary.",
                code="standby_source_unsupported",
            )
        self._require_superuser(connection, attempted)
        found = server_settings.read(connection, MANAGED)
        record, noted_slot = archiving_settings.parse_record(settings_note.read(connection))
        if record is None:
            record = dict(archiving_settings.legacy_record(found))
        plan = _Plan(
            archiving_settings.plan(self._wanted(found, server, attempted), self._taken_back(record), found, record)
        )
        if not request.absent and not request.is_remote:
            self._plan_claim(plan, stanzas, server)
        self._plan_slot(plan, noted_slot, connection)
        if plan.settings.writes or plan.slot_is_missing or plan.slot_to_drop:
            _require_changeable(plan, connection)
        if "max_wal_senders" in plan.settings.writes:
            self._warn_of_standbys(plan.settings.after["max_wal_senders"], connection)
        return plan

    def _wanted(self, found: dict[str, Setting], server: Server, attempted: str) -> dict[str, str]:
        request = self._request
        if request.absent:
            return {}
        command, options = None, request.options
        if self._by_command:
            _require_no_foreign_archiver(request, found, attempted)
            command = archive_command(request.agent, request.push_options)
            if request.is_remote:  # the command on its host is looked after there
                command = _command_of_its_host(found, attempted)
        return archiving_settings.wanted(
            options, found, server.major, command=command, streams=self._cluster.receive.streams
        )

    def _taken_back(self, record: archiving_settings.Record) -> Sequence[str]:
        if self._request.absent:
            # From elsewhere a receiver is taken away. What the server's own host has set for its archiving stays.
            kept = self._request.is_remote and "archive_command" in record
            return [] if kept else list(record)
        if self._request.method_is_said and not self._by_command and not self._request.is_remote:
            return ARCHIVE_SETTINGS
        return ()

    def _plan_claim(self, plan: _Plan, stanzas: Sequence[Stanza], server: Server) -> None:
        facts = claim.facts_of(server.data_directory)
        plan.claim = claim.plan_all(stanzas, server.data_directory, facts, self._request.claim)
        if plan.claim is None:
            plan.incarnation = claim.claimed(server.data_directory)
        elif plan.claim == claim.TIMELINE:
            plan.incarnation = stanzas[0].require_registered().incarnation

    def _plan_slot(self, plan: _Plan, noted: str | None, connection: Connection) -> None:
        receive = self._cluster.receive
        if receive.streams and not self._request.absent:
            plan.slot = receive.slot
            plan.slot_is_missing = slots.ensure(connection, receive.slot, check_mode=True)
        # One that was made for a receiver, and is not wanted any more. Several hosts may receive: the note is about the
        # slot of the server's own host, and whoever is elsewhere takes away only the one that he names himself.
        absent, remote = self._request.absent, self._request.is_remote
        other = receive.slot if absent and (receive.streams or remote) else None if remote else noted
        if remote and not receive.streams and other == noted:
            other = None
        unwanted = absent or self._request.method_is_said
        if other and unwanted and other != plan.slot and slots.drop(connection, other, check_mode=True):
            plan.slot_to_drop = other
        ours = None if remote else plan.slot
        plan.noted_slot = ours or (noted if noted != plan.slot_to_drop else None)

    def _require_superuser(self, connection: Connection, attempted: str) -> None:
        (superuser,) = connection.row(attempted, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        if not superuser:
            raise PreconditionError(
                attempted,
                f"the role {self._cluster.connection.user} is no superuser, so it cannot use ALTER SYSTEM.",
                "Give login_user a superuser.",
                code="role_lacks_privilege",
            )

    def _warn_of_standbys(self, number: str, connection: Connection) -> None:
        (standbys,) = connection.row(
            "looking for standbys", "SELECT count(*) FROM pg_stat_replication WHERE application_name LIKE %s", "wal%"
        )
        if standbys:
            self._sink.emit(
                Warned(
                    f"{standbys} standbys are connected: each needs max_wal_senders of {number} or more before the"
                    " primary is restarted with it, or it stops replaying"
                )
            )

    def _restarts(self, plan: _Plan) -> bool:
        if not plan.settings.restart:
            return False
        named = ", ".join(plan.settings.restart)
        if self._request.restart == NEVER:
            raise PreconditionError(
                f"setting {named}",
                "it takes a restart of the server, and restart is never.",
                "Set restart to report or when_needed; nothing was changed.",
                code="restart_needed",
                settings=plan.settings.restart,
            )
        if self._request.restart == WHEN_NEEDED and self._request.is_remote:
            self._sink.emit(Warned(f"{named}: the server has to be restarted on its own host; it cannot be from here"))
        return self._request.restart == WHEN_NEEDED and not self._request.is_remote

    # --- doing

    def _apply(self, plan: _Plan, stanzas: Sequence[Stanza], server: Server, connection: Connection) -> None:
        if plan.registered:
            plan.incarnation = register_remote.run(self._request, self._clock, self._sink).incarnation
        if plan.slot_to_drop is not None:
            slots.drop(connection, plan.slot_to_drop)
        if plan.claim is not None:
            self._sink.emit(PhaseStarted("claiming", f"the archive as a new {plan.claim}"))
            facts = claim.facts_of(server.data_directory)
            plan.incarnation = claim.make(stanzas, server.data_directory, facts, plan.claim, self._clock)
        if plan.settings.writes or plan.slot_is_missing or plan.slot_to_drop:
            note = archiving_settings.record_text(plan.settings.record, plan.noted_slot)
            settings_note.write(connection, Path(server.settings["data_directory"]), note)
        if plan.settings.writes:
            self._sink.emit(PhaseStarted("changing settings", ", ".join(plan.settings.writes)))
            for name, value in plan.settings.writes.items():
                connection.alter_system(name, value)
            connection.rows("reloading the configuration", "SELECT pg_reload_conf()")

    def _restart(self, server: Server) -> None:
        self._sink.emit(PhaseStarted("restarting the server", str(server.data_directory)))
        service.restart(
            programs.find(server.major, self._cluster.bin_directory, server.data_directory),
            server.data_directory,
            self._runner,
            _RESTART_SECONDS,
        )

    def _proof(self, plan: _Plan, stanzas: Sequence[Stanza], connection: Connection) -> Proof:
        required = stanzas[: len(self._request.copies.required)]
        directory = None if self._request.is_remote else Path(self._directory or _own_directory(connection))
        if directory is None:
            lives = [stanza.require_registered() for stanza in required]
        else:
            facts = claim.facts_of(directory)
            lives = [
                claim.require_life(stanza, str(plan.incarnation), lambda: facts, self._clock) for stanza in required
            ]
        archives = [WalArchive(stanza, life) for stanza, life in zip(required, lives)]
        return Proof(
            self._cluster,
            connection,
            archives,
            by_command=self._by_command,
            by_slot=self._cluster.receive.streams,
            data_directory=directory,
            clock=self._clock,
            sink=self._sink,
            timeout=self._request.proof_timeout,
        )


def _own_directory(connection: Connection) -> str:
    return str(connection.row("asking for the data directory", "SELECT current_setting('data_directory')")[0])


def _require_changeable(plan: _Plan, connection: Connection) -> None:
    """Nobody else may own the settings."""
    if patroni.governs(connection):
        raise patroni.refusal(plan.settings.writes, plan.slot if plan.slot_is_missing else None)
    query = "SELECT setting FROM pg_settings WHERE name = 'allow_alter_system'"
    if plan.settings.writes and connection.rows("asking whether settings may be changed", query) == [("off",)]:
        raise PreconditionError(
            f"setting {', '.join(plan.settings.writes)}",
            "the server's allow_alter_system is off: its settings are looked after elsewhere.",
            "Set there what the diff of a run in check mode shows, or turn allow_alter_system on; nothing was changed.",
            code="alter_system_not_allowed",
            settings=plan.settings.writes,
        )


def _require_no_foreign_archiver(request: ArchivingRequest, found: dict[str, Setting], attempted: str) -> None:
    """Another tool's archiving is never taken over by accident."""
    foreign = archiving_settings.archives_elsewhere(found)
    if foreign and not request.replace_archiver:
        name = "archive_library" if "archive_library" in found and found["archive_library"].effective else None
        raise PreconditionError(
            attempted,
            f"the server already archives with another program: {foreign}"
            f" (by {found[name or 'archive_command'].origin}).",
            "If Lifeboat shall take over, set replace_archiver: true; the other archive will get no more WAL.",
            code="foreign_archiver",
            archiver=foreign,
        )


def _command_of_its_host(found: dict[str, Setting], attempted: str) -> str:
    """A server elsewhere runs a command of its own host; whether that works cannot be seen from here."""
    command = found["archive_command"].configured
    if archiving_settings.OURS in command:
        return command
    raise PreconditionError(
        attempted,
        "its files are out of reach (method: stream), so neither the command that it would run nor its claim to the"
        " archive can be looked after from here.",
        "Run pitr_configure on the server's own host for archive_command, or set wal_method: stream and let a receiver"
        " take the WAL: that needs nothing but SQL.",
        code="archiving_needs_the_host",
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
