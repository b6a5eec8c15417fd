# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why PostgreSQL's client programs failed, known by what they or the server say: they have no codes for it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import ExternalToolError, LifeboatError, PreconditionError
from .connection import connect_error

_NOT_CONNECTED = re.compile(r"connection to server .* failed|could not connect to|could not translate host name")


@dataclass(frozen=True)
class _Cause:
    pattern: re.Pattern[str]
    code: str
    remedy: str


def _cause(pattern: str, code: str, remedy: str) -> _Cause:
    return _Cause(re.compile(pattern), code, remedy)


_CAUSES = (
    _cause(
        r"No space left on device|could not extend file",
        "disk_full",
        "Free space where it says, then run this again. Nothing half done is visible.",
    ),
    _cause(
        r"permission denied for|must be owner of|permission denied to",
        "role_lacks_privilege",
        "Let a role do this that may: for dumps grant it pg_read_all_data (PostgreSQL 14 and newer) or SELECT on what"
        " is named; restores need the database's owner or a superuser.",
    ),
    _cause(
        r'role "(.*)" does not exist',
        "role_missing",
        "Create the role, let missing_roles be create, or leave owners and privileges out (no_owner, no_privileges).",
    ),
    _cause(
        r'database "(.*)" already exists',
        "database_exists",
        "Say with if_exists what shall become of it, or give another target_database.",
    ),
    _cause(
        r"already exists|duplicate key value",
        "object_exists",
        "The target holds it already: restore into a new database, or let if_exists be replace, or truncate be true.",
    ),
    _cause(
        r'database "(.*)" does not exist',
        "database_missing",
        "Correct the database's name, or create it.",
    ),
    _cause(
        r'extension "(.*)" is not available|could not open extension control file',
        "extension_missing",
        "Install the extension's package on the server's host, in the server's version, then run this again.",
    ),
    _cause(
        r"no matching (tables|schemas|extensions) were found",
        "nothing_selected",
        "Correct the names: schema.table, in double quotes where there are capitals or spaces.",
    ),
    _cause(
        r"terminating connection|server closed the connection|connection to server was lost",
        "server_connection_lost",
        "The server was restarted, or the database dropped, or the session ended: see its log, then run this again.",
    ),
    _cause(
        r"version mismatch|unsupported version \(",
        "client_programs_missing",
        "Install client programs that are not older than the server, or than what made the dump.",
    ),
)


def explained(error: ExternalToolError) -> LifeboatError:
    """The same failure by its name, where that is known."""
    said = str(error.details.get("stderr", ""))
    if _NOT_CONNECTED.search(said) and 'database "' not in said:
        return connect_error(error.attempted, said)
    for cause in _CAUSES:
        if cause.pattern.search(said):
            return PreconditionError(
                error.attempted, error.happened, cause.remedy, code=cause.code, command=error.details.get("command")
            )
    return error
