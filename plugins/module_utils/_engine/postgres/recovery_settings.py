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

from .. import wal_spool

_INCLUDE_DIRECTORY = re.compile(r"^[ \t]*include_dir[ \t]*=?[ \t]*'([^'\n]+)'", re.MULTILINE)
# PostgreSQL takes a name in any case, and needs neither an equals sign nor a space behind it.
_LOCATION = re.compile(
    r"^[ \t]*(?:data_directory|hba_file|ident_file|external_pid_file)\b", re.IGNORECASE | re.MULTILINE
)
_BEGIN = "# --- Lifeboat: written by the restore; the last setting of a name wins\n"


@dataclass(frozen=True)
class RecoveryTarget:
    """How far to replay: to a time, or (None) to the end of the archived WAL."""

    time: datetime | None = None

    def describe(self) -> str:
        """For people."""
        return self.time.isoformat() if self.time else "the end of the archived WAL"

    def settings(self) -> dict[str, str]:
        """As PostgreSQL's parameters."""
        if self.time is None:
            return {}
        # with microseconds and an explicit zone: the server's own zone must not decide
        text = self.time.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f+00")
        return {"recovery_target_time": text, "recovery_target_action": "promote"}


def before_a_gap(major: int) -> dict[str, str]:
    """For WAL of which a later part is missing: a server that reads ahead, as from 15 on, would fall into the gap."""
    return {"recovery_prefetch": "off"} if major >= 15 else {}


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
