# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove backups at a level."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from ...clock import Clock
from ...ports import ProcessRunner, ProgressSink
from ...postgres import programs
from ...report.phases import PhaseTime
from ...repository.access import stanza_of
from ...repository.manifest import AnyHeader, SetHeader
from ...repository.stanza import Stanza
from ...sources.workers import require_some
from ..restore import choose
from ..restore.reach import TargetSearch
from . import content as verify_content
from . import restoring as verify_restore
from .checks import Check
from .restoring import ScratchRequest

LEVELS = ("content", "restore")


@dataclass(frozen=True)
class VerifyResult:
    """All checks with their evidence; good only when each is."""

    level: str
    backup_id: str
    checks: list[Check]
    phases: list[PhaseTime] = field(default_factory=list)
    rto_seconds: float | None = None
    rpo_seconds: float | None = None
    last_commit: datetime | None = None
    isolation: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything was good."""
        return all(check.ok for check in self.checks)


def run(level: str, request: ScratchRequest, clock: Clock, runner: ProcessRunner, sink: ProgressSink) -> VerifyResult:
    """`content` reads every byte; `restore` restores into a scratch server as well."""
    if level == "restore":
        proof = verify_restore.verify(request, clock, runner, sink)
        return VerifyResult(
            level,
            proof.backup.backup_id,
            proof.checks,
            proof.phases,
            proof.rto_seconds,
            proof.rpo_seconds,
            proof.last_commit,
            proof.isolation,
        )
    restore = request.restore
    require_some(restore.jobs)
    stanza = stanza_of(restore.repository, restore.stanza)
    header: AnyHeader | None = _set_named(stanza, restore.backup)
    if header is None:
        header = choose.backup_for(stanza, restore.backup, restore.target, clock.now())
    return VerifyResult(level, header.backup_id, verify_content.verify(stanza, header, restore.jobs, sink))


def _set_named(stanza: Stanza, backup: str) -> SetHeader | None:
    """A backup of another kind than physical, if that is what is asked for by its id."""
    header = None if backup == choose.LATEST else stanza.any_header(backup)
    return header if isinstance(header, SetHeader) else None


def plan(level: str, request: ScratchRequest, clock: Clock, runner: ProcessRunner, sink: ProgressSink) -> str:
    """For check mode: the backup that would be proven."""
    restore = request.restore
    stanza = stanza_of(restore.repository, restore.stanza)
    named = _set_named(stanza, restore.backup) if level == "content" else None
    if named is not None:
        return named.backup_id
    choices = choose.candidates(stanza, restore.backup, restore.target, clock.now())
    if level != "restore":
        return choices[0].header.backup_id
    found = programs.find(choices[0].header.major_version, restore.bin_directory)
    return TargetSearch(restore.target, found, runner, sink).decide(choices).choice.header.backup_id
