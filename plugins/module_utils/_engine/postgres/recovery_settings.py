# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that make a restored directory recover to its target and keep to itself."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum

from .. import wal_spool
from .wal_names import Lsn, format_lsn

_INCLUDE_DIRECTORY = re.compile(r"^[ \t]*include_dir[ \t]*=?[ \t]*'([^'\n]+)'", re.MULTILINE)
# PostgreSQL takes a name in any case, and needs neither an equals sign nor a space behind it.
_LOCATION = re.compile(
    r"^[ \t]*(?:data_directory|hba_file|ident_file|external_pid_file)\b", re.IGNORECASE | re.MULTILINE
)
LATEST, CURRENT = "latest", "current"
RECOVERY_SIGNAL, STANDBY_SIGNAL = "recovery.signal", "standby.signal"
_BEGIN = "# --- Lifeboat: written by the restore; the last setting of a name wins\n"


class Action(Enum):
    """What the server does when it has reached its target."""

    PROMOTE = "promote"
    PAUSE = "pause"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True)
class RecoveryTarget:
    """At most one of time, lsn, xid, name and immediate; none of them means all the WAL there is.

    `timeline` is `latest`, `current` (the backup's own) or a number.
    """

    time: datetime | None = None
    lsn: Lsn | None = None
    xid: int | None = None
    name: str | None = None
    immediate: bool = False
    inclusive: bool = True
    timeline: str | int = LATEST
    action: Action = Action.PROMOTE

    @property
    def is_latest(self) -> bool:
        """Whether everything there is shall be replayed."""
        given = (self.time, self.lsn, self.xid, self.name)
        return not self.immediate and all(each is None for each in given)

    def describe(self) -> str:
        """For people."""
        before = "" if self.inclusive else "just before "
        if self.time is not None:
            return before + self.time.isoformat()
        if self.lsn is not None:
            return f"{before}the WAL location {format_lsn(self.lsn)}"
        if self.xid is not None:
            return f"{before}the end of transaction {self.xid}"
        if self.name is not None:
            return f"the restore point {self.name}"
        return "the end of the backup" if self.immediate else "the end of the archived WAL"

    def settings(self, timeline: str | int) -> dict[str, str]:
        """As PostgreSQL's parameters, for a `timeline` found for this target.

        All of them: whatever an earlier recovery has left in the configuration must not count. Those
        that are not set come first, because the server takes even an empty one behind another for a
        second target, and does not start.
        """
        targets = {
            "recovery_target": "immediate" if self.immediate else "",
            "recovery_target_time": _time_text(self.time) if self.time is not None else "",
            "recovery_target_lsn": format_lsn(self.lsn) if self.lsn is not None else "",
            "recovery_target_xid": str(self.xid) if self.xid is not None else "",
            "recovery_target_name": self.name or "",
        }
        return {
            **dict(sorted(targets.items(), key=lambda item: item[1] != "")),
            "recovery_target_inclusive": "on" if self.inclusive else "off",
            "recovery_target_timeline": str(timeline),
            "recovery_target_action": self.action.value,
        }


def _time_text(moment: datetime) -> str:
    """With microseconds and an explicit zone: the server's own zone must not decide."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f+00")


PREFETCH = "recovery_prefetch"


def unprefetched(major: int) -> dict[str, str]:
    """A recovery from the archive does not read ahead the pages that WAL is about to change, as servers do from 15 on.

    The first change of a page brings all of it, and from then on it is in memory. The server looks ahead only for
    changes without the page: it finds those that come right behind the whole page, and reads from a cold disk what it
    then overwrites. And where a later part of the WAL is missing, reading ahead would fall into the gap.
    """
    return {PREFETCH: "off"} if major >= 15 else {}


def unsummarized(major: int) -> dict[str, str]:
    """A server that summarizes WAL does not end its recovery before that is done.

    Where its summarizer cannot read on, as happens behind a change of timeline, it gives up after a minute and stops.
    """
    return {"summarize_wal": "off"} if major >= 17 else {}


def restore_command(program: list[str], incarnation: str) -> str:
    """The shell line PostgreSQL runs for each WAL file: what has been fetched ahead only has to be renamed."""
    quoted = " ".join(shlex.quote(word).replace("%", "%%") for word in program)
    return f'mv -f "{wal_spool.fetched(incarnation)}" "%p" 2>/dev/null || exec {quoted} %f "%p"'


def _quoted(value: str) -> str:
    """As ALTER SYSTEM writes it: in these files a backslash escapes too."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def render(existing: str, settings: Mapping[str, str]) -> str:
    """postgresql.auto.conf with our settings after everything it had."""
    kept = existing if not existing or existing.endswith("\n") else existing + "\n"
    return kept + _BEGIN + "".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items())


def without_locations(postgresql_conf: str) -> str:
    """A configuration file brought to a new place: lines that name places of the old one are commented."""
    return _LOCATION.sub(r"# lifeboat, was of the original place: \g<0>", postgresql_conf)


def include_directories(postgresql_conf: str) -> list[str]:
    """The directories that a configuration file includes relative to itself: PostgreSQL refuses to start without them.

    Debian's is there from the beginning and mostly empty, so no backed-up file implies it.
    """
    return [name for name in _INCLUDE_DIRECTORY.findall(postgresql_conf) if not name.startswith("/")]
