# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a backup, or a point in time, back as a new cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ..clock import Clock
from ..errors import PreconditionError
from ..ports import ProcessRunner, ProgressSink
from ..postgres import programs, recovery_settings
from ..postgres.recovery_settings import RecoveryTarget
from ..priority import yield_to_others
from ..report.events import PhaseStarted, Warned
from ..report.phases import PhaseTime, PhaseTimer
from ..repository.access import stanza_of
from ..repository.manifest import Header
from ..repository.wal import WalArchive
from ..sources.workers import require_some
from ..specs import RepositorySpec
from . import choose, newer_tablespaces
from .recovery import RecoveryPlan, fetch_program, instance_of, start_and_replay, write_directory
from .restore_layout import map_tablespaces, require_space, require_usable_directory

THIRD_PARTY = ("xxhash",)


def target(text: str | None) -> RecoveryTarget:
    """A target as users write it: ISO 8601 with a zone, or nothing for everything there is."""
    if text is None:
        return RecoveryTarget()
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
        if moment.tzinfo is None:
            raise ValueError("it names no zone")
    except ValueError as exc:
        raise PreconditionError(
            f"reading the target time {text!r}",
            f"{exc}.",
            "Write it with its zone, such as 2026-11-21T14:30:00+01:00 or 2026-11-21T13:30:00Z.",
            code="target_time_invalid",
        ) from exc
    return RecoveryTarget(moment)


@dataclass(frozen=True)
class RestoreRequest:
    """What the user wants."""

    repository: RepositorySpec
    stanza: str
    data_directory: Path
    agent: Path
    backup: str = choose.LATEST
    target: RecoveryTarget = field(default_factory=RecoveryTarget)
    bin_directory: Path | None = None
    port: int | None = None
    socket_directory: Path | None = None
    tablespace_mapping: Mapping[str, str] = field(default_factory=dict)
    tablespace_root: Path | None = None  # where tablespaces go that are not mapped
    original: Path | None = None  # where the cluster is, if it is on this machine
    delta: bool = False  # bring the cluster in the directory back in place, writing only what differs
    start: bool = True
    jobs: int = 2
    max_rate: float | None = None  # bytes a second
    low_priority: bool = False
    recovery_timeout: float = 3600.0


@dataclass(frozen=True)
class RestoreResult:
    """What was done, or (in check mode) would be."""

    backup: Header
    started: bool
    last_commit: str | None
    phases: list[PhaseTime]
    gaps: list[str]
    salvaged_wal: list[str] = field(default_factory=list)


def prepare(
    request: RestoreRequest, clock: Clock, sink: ProgressSink, *, confined: bool = False
) -> tuple[RecoveryPlan, list[str]]:
    """Every check there is before anything is written. `confined` is what cannot reach the original's files."""
    require_some(request.jobs)
    sink.emit(PhaseStarted("checking", "repository, target and directory"))
    stanza = stanza_of(request.repository, request.stanza)
    header = choose.backup_for(stanza, request.backup, request.target, clock.now())
    life = choose.life_of(stanza, header)
    gaps = choose.require_recoverable(WalArchive(stanza, life), header, request.target)
    for missing in gaps:
        sink.emit(Warned(f"the WAL segment {missing} is missing: only targets before it can be reached"))
    require_usable_directory(request.data_directory, header.system_identifier, delta=request.delta)
    if not confined:
        newer_tablespaces.require_none(request.original, header, request.data_directory, "")
    if not request.delta:
        require_space(request.data_directory, header.raw_bytes)
    settings = recovery_settings.before_a_gap(header.major_version) if gaps else {}
    if request.port is not None:
        settings["port"] = str(request.port)
    if request.socket_directory is not None:
        if not request.socket_directory.is_dir():
            raise PreconditionError(
                f"restoring into {request.data_directory}",
                f"the socket directory {request.socket_directory} does not exist.",
                "Create it, writable by the server's owner.",
                code="socket_directory_missing",
            )
        settings["unix_socket_directories"] = str(request.socket_directory)
    plan = RecoveryPlan(
        stanza=stanza,
        header=header,
        life=life,
        target=request.target,
        data_directory=request.data_directory,
        tablespaces=map_tablespaces(
            header, request.data_directory, request.tablespace_mapping, request.tablespace_root, delta=request.delta
        ),
        programs=programs.find(header.major_version, request.bin_directory),
        fetch_program=fetch_program(request.agent, request.repository, request.stanza, life),
        settings=settings,
        jobs=request.jobs,
        max_rate=request.max_rate,
    )
    plan.programs.path("pg_ctl")
    return plan, gaps


def run(
    request: RestoreRequest, clock: Clock, runner: ProcessRunner, sink: ProgressSink, *, check_mode: bool = False
) -> RestoreResult:
    """Check, write, and unless told otherwise start and replay to the target."""
    if request.low_priority:
        yield_to_others(sink)
    timer = PhaseTimer(sink, clock)
    plan, gaps = prepare(request, clock, timer)
    if check_mode:
        return RestoreResult(plan.header, request.start, None, [], gaps)
    salvaged = write_directory(plan, timer)
    last_commit = None
    if request.start:
        instance = instance_of(plan, runner, clock)
        start_and_replay(plan, instance, timer, request.recovery_timeout, {})
        last_commit = instance.last_commit_in_log()
    return RestoreResult(plan.header, request.start, last_commit, timer.times(), gaps, salvaged)
