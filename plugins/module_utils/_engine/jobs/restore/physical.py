# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a backup, or a point in time, back as a new cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...clock import Clock
from ...errors import PreconditionError
from ...ports import ProcessRunner, ProgressSink
from ...postgres import old_targets, programs, recovery_settings
from ...postgres.instance import Outcome
from ...postgres.recovery_settings import LATEST, RecoveryTarget
from ...priority import yield_to_others
from ...report.events import PhaseStarted, Warned
from ...report.phases import PhaseTime, PhaseTimer
from ...repository.access import stanza_of
from ...repository.manifest import Header
from ...sources.workers import require_some
from ...specs import RepositorySpec
from . import choose, keep_old, newer_tablespaces
from .layout import map_tablespaces, require_space, require_usable_directory
from .reach import TargetSearch
from .recovery import RecoveryPlan, Standby, fetch_program, instance_of, start_and_replay, write_directory

THIRD_PARTY = ("xxhash",)


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
    keep_old: bool = False  # keep what is in the directory under another name
    standby: Standby | None = None
    start: bool = True
    jobs: int = 2
    max_rate: float | None = None  # bytes a second
    low_priority: bool = False
    recovery_timeout: float = 3600.0


@dataclass(frozen=True)
class RestoreResult:
    """What was done, or (in check mode) would be."""

    backup: Header
    timeline: int
    state: Outcome | None  # None when it was not started
    stopped_at: str | None
    last_commit: str | None
    phases: list[PhaseTime]
    gaps: list[str]
    salvaged_wal: list[str] = field(default_factory=list)
    kept_old: Path | None = None

    @property
    def running(self) -> bool:
        """Whether a server runs in the restored directory."""
        return self.state not in {None, Outcome.STOPPED}


def prepare(
    request: RestoreRequest, clock: Clock, runner: ProcessRunner, sink: ProgressSink, *, confined: bool = False
) -> tuple[RecoveryPlan, list[str]]:
    """Every check there is before anything is written. `confined` is what cannot reach the original's files."""
    require_some(request.jobs)
    _require_sense(request)
    sink.emit(PhaseStarted("checking", "repository, target and directory"))
    stanza = stanza_of(request.repository, request.stanza)
    choices = choose.candidates(stanza, request.backup, request.target, clock.now())
    version = choices[0].header.major_version
    found = programs.of_version(version, request.bin_directory, runner)
    same = [choice for choice in choices if choice.header.major_version == version]
    reach = TargetSearch(request.target, found, runner, sink).decide(same)
    header, life = reach.choice.header, reach.choice.life
    present = stanza.require_registered()
    if request.target.is_latest and life.incarnation != present.incarnation:
        sink.emit(
            Warned(
                f"this is the end of an earlier incarnation, of PostgreSQL {life.major_version}: the present one began"
                f" {present.created} (PostgreSQL {present.major_version})"
            )
        )
    for missing in reach.missing:
        sink.emit(Warned(f"the WAL segment {missing} is missing: only targets before it can be reached"))
    if request.keep_old and keep_old.has_something(request.data_directory):
        keep_old.require_possible(request.data_directory, header.system_identifier)
        place = keep_old.name_for(request.data_directory, clock.now())
    else:
        require_usable_directory(request.data_directory, header.system_identifier, delta=request.delta)
        place = request.data_directory
    if not confined:
        replaced = request.data_directory if request.delta else None
        for cluster in (request.original, request.data_directory):
            newer_tablespaces.require_none(cluster, header, replaced)
    if not request.delta:
        require_space(request.data_directory, header.raw_bytes)
    whole = request.standby is not None and not reach.missing  # what follows a primary for ever reads ahead as it likes
    settings = {} if whole else recovery_settings.unprefetched(header.major_version)
    settings.update(_own_settings(request))
    plan = RecoveryPlan(
        stanza=stanza,
        header=header,
        life=life,
        target=request.target,
        timeline=reach.choice.path.timeline,
        data_directory=request.data_directory,
        tablespaces=map_tablespaces(
            header, request.data_directory, request.tablespace_mapping, request.tablespace_root, delta=request.delta
        ),
        programs=found,
        fetch_program=fetch_program(request.agent, request.repository, request.stanza, life),
        settings=settings,
        jobs=request.jobs,
        max_rate=request.max_rate,
        standby=request.standby,
        old_directory=place if place != request.data_directory else None,
    )
    plan.programs.path("pg_ctl")
    return plan, reach.missing


def _require_sense(request: RestoreRequest) -> None:
    """Refuse wishes that exclude one another."""
    happened = ""
    if request.delta and request.keep_old:
        happened = "delta writes into the old directory, and keep_old keeps it as it is."
    elif request.standby is not None and not request.target.is_latest:
        happened = "a standby goes on for ever, and a target is where a recovery stops."
    elif request.standby is not None and request.target.timeline != LATEST:
        happened = "a standby follows its primary to whatever timeline that is on."
    if happened:
        raise PreconditionError(
            f"restoring into {request.data_directory}", happened, "Give only one of the two.", code="setting_invalid"
        )


def _own_settings(request: RestoreRequest) -> dict[str, str]:
    """What the restored server shall have different from the original."""
    settings = {}
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
    return settings


def run(
    request: RestoreRequest, clock: Clock, runner: ProcessRunner, sink: ProgressSink, *, check_mode: bool = False
) -> RestoreResult:
    """Check, write, and unless told otherwise start and replay to the target."""
    if request.low_priority:
        yield_to_others(sink)
    timer = PhaseTimer(sink, clock)
    salvaged = []
    if (request.delta or request.keep_old) and not check_mode:
        stanza = stanza_of(request.repository, request.stanza)
        salvaged = keep_old.salvage_finished(request.data_directory, stanza, timer)
    plan, gaps = prepare(request, clock, runner, timer)
    state = plan.outcome if request.start else None
    if check_mode:
        return RestoreResult(plan.header, plan.timeline, state, None, None, [], gaps, [], plan.old_directory)
    if plan.old_directory is not None:
        keep_old.set_aside(plan.data_directory, plan.old_directory, timer)
    salvaged += write_directory(plan, timer)
    stopped_at = last_commit = None
    if request.start:
        instance = instance_of(plan, runner, clock)
        start_and_replay(plan, instance, timer, request.recovery_timeout)
        stopped_at, last_commit = instance.stop_record(), instance.last_commit_in_log()
        if state is Outcome.OPEN:
            _forget_target(request.data_directory, timer)
    return RestoreResult(
        plan.header,
        plan.timeline,
        state,
        stopped_at,
        last_commit,
        timer.times(),
        gaps,
        salvaged,
        plan.old_directory,
    )


def _forget_target(data_directory: Path, sink: ProgressSink) -> None:
    """The recovery is over, and no standby that is made of this cluster shall begin it again."""
    try:
        old_targets.forget(data_directory)
    except OSError as exc:
        text = f"{data_directory / old_targets.AUTO_CONF} keeps the recovery target ({exc.strerror})"
        sink.emit(Warned(f"{text}: take it out before a standby is made of this cluster"))
