# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Proof by restoring: a scratch server beside production, judged by PostgreSQL's tools and the user's queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from ... import background
from ...clock import Clock, parse_utc
from ...errors import LifeboatError
from ...ports import ProcessRunner, ProgressSink
from ...postgres import amcheck, verifybackup
from ...postgres.connection import connect
from ...postgres.scratch import PORT, scratch_place
from ...report.events import PhaseStarted, Warned
from ...report.phases import PhaseTime, PhaseTimer
from ...repository.manifest import Header
from ...specs import ConnectionSpec
from ...wal_spool import FETCH, WalSpool
from ..restore import newer_tablespaces
from ..restore.physical import RestoreRequest, prepare
from ..restore.recovery import RecoveryPlan, instance_of, write_directory
from .checks import Assertion, Check, attempt
from .scratch_server import ScratchServer

THIRD_PARTY = ("psycopg", "psycopg.sql", "xxhash")


@dataclass(frozen=True)
class ScratchRequest:
    """How to prove by restoring. The restore's directory is replaced by the scratch place."""

    restore: RestoreRequest
    scratch_parent: Path
    superuser: str = "postgres"
    assertions: Sequence[Assertion] = ()
    preload_libraries: Sequence[str] = ()


@dataclass
class RestoreProof:
    """What the scratch restore has shown, and how long it took."""

    backup: Header
    isolation: str
    checks: list[Check] = field(default_factory=list)
    phases: list[PhaseTime] = field(default_factory=list)
    rto_seconds: float | None = None
    rpo_seconds: float | None = None
    last_commit: datetime | None = None

    def add(self, check: Check) -> bool:
        """Note a check; tells whether it was good."""
        self.checks.append(check)
        return check.ok


def verify(request: ScratchRequest, clock: Clock, runner: ProcessRunner, sink: ProgressSink) -> RestoreProof:
    """Restore, replay, check, remove. A failed check is reported, and later ones still run where they can."""
    timer = PhaseTimer(sink, clock)
    decided, began = clock.now(), clock.monotonic()
    with scratch_place(request.scratch_parent) as place:
        restore = replace(request.restore, data_directory=place.data_directory, tablespace_root=place.tablespaces)
        plan, _gaps = prepare(restore, clock, runner, timer, confined=True)
        server = ScratchServer(instance_of(plan, runner, clock), place, request.preload_libraries)
        _require_isolation(server, plan, restore, timer)
        proof = RestoreProof(plan.header, server.isolation)
        write_directory(plan, timer)
        timer.emit(PhaseStarted("checking files", "pg_verifybackup"))
        proof.add(
            attempt("pg_verifybackup", lambda: verifybackup.before_start(plan.programs, plan.data_directory, runner))
        )
        try:
            recovered = proof.add(attempt("recovery", lambda: _recover(plan, server, timer, restore.recovery_timeout)))
            if recovered:
                access = ConnectionSpec(user=request.superuser, socket_directory=str(place.socket_directory), port=PORT)
                proof.last_commit = _newest_commit(access)
                proof.rto_seconds = round(clock.monotonic() - began, 3)
                newest = proof.last_commit or parse_utc(plan.header.stop_time)
                if plan.target.time is not None or plan.target.is_latest:  # else there is no time to see it from
                    proof.rpo_seconds = round(((plan.target.time or decided) - newest).total_seconds(), 3)
                _look_inside(request, plan, access, proof, runner, timer)
        finally:
            timer.emit(PhaseStarted("stopping the scratch server"))
            server.stop()
            background.end(WalSpool(str(plan.data_directory), plan.life.incarnation), FETCH, clock)
        if recovered:  # else its pages are in no state to be judged
            timer.emit(PhaseStarted("checking page checksums"))
            proof.add(_page_checksums(plan, runner))
        timer.emit(PhaseStarted("removing the scratch server"))
    proof.phases = timer.times()
    return proof


def _require_isolation(server: ScratchServer, plan: RecoveryPlan, restore: RestoreRequest, sink: ProgressSink) -> None:
    """Without a sandbox only what is known to touch nobody else's files is replayed."""
    if server.refusal:
        why = f", and this machine allows no sandbox ({server.refusal})"
        newer_tablespaces.require_none(restore.original, plan.header, why=why)
        sink.emit(
            Warned(f"the scratch server is not confined, because this machine allows no sandbox: {server.refusal}")
        )


def _recover(plan: RecoveryPlan, server: ScratchServer, sink: ProgressSink, timeout: float) -> str:
    sink.emit(PhaseStarted("replaying WAL", f"to {plan.target.describe()}"))
    server.recover(timeout, sink)
    return f"replayed to {plan.target.describe()}; {server.instance.stop_record() or 'the archived WAL ended there'}"


def _page_checksums(plan: RecoveryPlan, runner: ProcessRunner) -> Check:
    if not plan.header.data_checksums:
        return Check("page checksums", True, "the cluster has no data checksums")
    return attempt("page checksums", lambda: verifybackup.page_checksums(plan.programs, plan.data_directory, runner))


def _newest_commit(server: ConnectionSpec) -> datetime | None:
    """The first query of the recovered server; None when no transaction was replayed."""
    with connect(server, None) as connection:
        moment: datetime | None = connection.row(
            "asking for the newest commit", "SELECT pg_last_xact_replay_timestamp()"
        )[0]
    return moment


def _look_inside(
    request: ScratchRequest,
    plan: RecoveryPlan,
    server: ConnectionSpec,
    proof: RestoreProof,
    runner: ProcessRunner,
    sink: ProgressSink,
) -> None:
    if request.assertions:
        sink.emit(PhaseStarted("running assertions", f"{len(request.assertions)} queries"))
    for assertion in request.assertions:
        proof.add(_assert(assertion, server))
    sink.emit(PhaseStarted("checking tables and indexes", "amcheck"))
    proof.add(attempt("amcheck", lambda: amcheck.check_everything(plan.programs, server, request.restore.jobs, runner)))


def _assert(assertion: Assertion, server: ConnectionSpec) -> Check:
    try:
        with connect(replace(server, database=assertion.database), None, users_queries=True) as connection:
            rows = connection.rows(f"running the assertion {assertion.name}", assertion.query)
    except LifeboatError as exc:
        return Check(assertion.name, False, exc.message)
    return assertion.judge(rows[0][0] if rows else None)
