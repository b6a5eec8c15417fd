# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery from backup to open database: lay out the directory, start the server, wait for the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ... import background
from ...clock import Clock
from ...errors import PreconditionError
from ...ports import ProcessRunner, ProgressSink
from ...postgres import recovery_settings
from ...postgres.connection import connect_options
from ...postgres.instance import FOLLOWED, LOG_NAME, Instance, Outcome
from ...postgres.programs import Programs
from ...postgres.recovery_settings import LATEST, RECOVERY_SIGNAL, STANDBY_SIGNAL, Action, RecoveryTarget
from ...report.events import PhaseStarted
from ...repository.manifest import Header
from ...repository.stanza import Incarnation, Stanza
from ...repository.wal import WalArchive
from ...specs import ConnectionSpec, RepositorySpec
from ...wal_spool import FETCH, WalSpool
from .layout import Layout
from .writer import lay_out

_OUTCOMES = {Action.PROMOTE: Outcome.OPEN, Action.PAUSE: Outcome.PAUSED, Action.SHUTDOWN: Outcome.STOPPED}


@dataclass(frozen=True)
class Standby:
    """Whom the restored server shall follow; a password is in the owner's .pgpass, never here."""

    conninfo: str
    slot: str | None = None

    def settings(self) -> dict[str, str]:
        """As PostgreSQL's parameters."""
        return {"primary_conninfo": self.conninfo, "primary_slot_name": self.slot or "", "hot_standby": "on"}


def follow(connection: ConnectionSpec, data_directory: Path | None, slot: str | None) -> Standby:
    """Following the server that these options lead to. A password stays out: it belongs into the owner's .pgpass."""
    options = connect_options(connection, data_directory)
    if "host" not in options:
        raise PreconditionError(
            "preparing a standby",
            "nothing says where its primary is.",
            "Set login_host, or primary_conninfo.",
            code="primary_unknown",
        )
    names = ("host", "port", "user", "sslmode", "sslrootcert")
    return Standby(" ".join(f"{name}={_quoted(options[name])}" for name in names if name in options), slot)


def _quoted(value: object) -> str:
    """As libpq reads it."""
    return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"


@dataclass(frozen=True)
class RecoveryPlan:
    """Everything a recovery needs, checked before the first byte is written."""

    stanza: Stanza
    header: Header
    life: Incarnation
    target: RecoveryTarget
    timeline: int  # to which the target leads
    data_directory: Path
    tablespaces: Mapping[str, Path]
    programs: Programs
    fetch_program: Sequence[str]
    settings: Mapping[str, str]
    jobs: int
    max_rate: float | None
    standby: Standby | None = None
    old_directory: Path | None = None  # where what is in the data directory now goes

    @property
    def outcome(self) -> Outcome:
        """How the recovery shall end."""
        return Outcome.FOLLOWING if self.standby else _OUTCOMES[self.target.action]


def fetch_program(agent: Path, repository: RepositorySpec, stanza: str, life: Incarnation) -> list[str]:
    """The command line that PostgreSQL will call for WAL. It holds no secret, only the key file's path."""
    if not agent.exists():
        raise PreconditionError(
            "preparing the recovery",
            f"the command {agent} does not exist; PostgreSQL fetches WAL with it.",
            "Install it with the module lifeboat_agent, or set agent_command to where it is.",
            code="agent_missing",
        )
    of_the_cluster = ["--stanza", stanza, "--incarnation", life.incarnation]
    return [str(agent), "archive-fetch", *repository.command_options(), *of_the_cluster]


def write_directory(plan: RecoveryPlan, sink: ProgressSink) -> list[str]:
    """Lay out the data directory with its recovery settings; nothing is started. Returns salvaged WAL."""
    settings = {
        # Whatever was restored archives nothing until somebody decides that it shall (I5).
        "archive_mode": "off",
        # ... and follows nobody, even if the backup was taken from a standby.
        "primary_conninfo": "",
        "primary_slot_name": "",
        # ... and runs none of the original's commands, which might tidy up its archive.
        "archive_cleanup_command": "",
        "recovery_end_command": "",
        **recovery_settings.unsummarized(plan.life.major_version),
        "restore_command": recovery_settings.restore_command(list(plan.fetch_program), plan.life.incarnation),
        **plan.target.settings(LATEST if plan.standby else plan.timeline),
        **({"hot_standby": "on"} if plan.target.action is Action.PAUSE else {}),
        **(plan.standby.settings() if plan.standby else {}),
        **plan.settings,
    }
    archive = WalArchive(plan.stanza, plan.life)
    signal = STANDBY_SIGNAL if plan.standby else RECOVERY_SIGNAL
    layout = Layout(plan.data_directory, plan.tablespaces, settings, plan.jobs, plan.max_rate, signal)
    return lay_out(plan.stanza, archive, plan.header, layout, sink)


def instance_of(plan: RecoveryPlan, runner: ProcessRunner, clock: Clock) -> Instance:
    """The server that will run in the directory."""
    return Instance(plan.data_directory, plan.programs, plan.data_directory / LOG_NAME, runner, clock)


def start_and_replay(plan: RecoveryPlan, instance: Instance, sink: ProgressSink, timeout: float) -> None:
    """Start the server and wait until it has reached the target and has done what it shall do there."""
    sink.emit(PhaseStarted("replaying WAL", f"to {plan.target.describe()}"))
    try:
        instance.start(FOLLOWED)
        instance.wait_until(plan.outcome, timeout)
    finally:
        end_fetching(plan, instance.clock)


def end_fetching(plan: RecoveryPlan, clock: Clock) -> None:
    """End what fetched WAL ahead for this recovery; who needs more begins it again."""
    background.end(WalSpool(str(plan.data_directory), plan.life.incarnation), FETCH, clock)
