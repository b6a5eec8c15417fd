# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles that a dump needs and a server does not have, made from the roles that were dumped with it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ...postgres.connection import Connection

# pg_dumpall writes each of these on a line of its own; a name that needs it is in double quotes.
_NAME = r'(?P<name>"(?:[^"]|"")+"|[^\s";]+)'
_CREATE = re.compile(rf"CREATE ROLE {_NAME};\Z")
_ALTER = re.compile(rf"ALTER ROLE {_NAME} (?:WITH|SET) .*;\Z", re.DOTALL)
_OWNED = (
    re.compile(rf"OWNER TO {_NAME};"),
    re.compile(rf"\b(?:GRANT|REVOKE) .* (?:TO|FROM) {_NAME}(?: WITH GRANT OPTION)?;"),
    re.compile(rf"DEFAULT PRIVILEGES FOR ROLE {_NAME} "),
)


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def needed_by(script: str) -> set[str]:
    """The roles that a dump's SQL names as owners or grantees."""
    found = {_plain(match["name"]) for pattern in _OWNED for match in pattern.finditer(script)}
    return found - {"PUBLIC"}


def create_missing(connection: Connection, roles: str, needed: Iterable[str]) -> list[str]:
    """Make those of the needed roles that the server lacks, as they were; their names."""
    attempted = "creating roles that the dump needs"
    there = {name for (name,) in connection.rows(attempted, "SELECT rolname FROM pg_roles")}
    missing = set(needed) - there
    made = []
    for line in roles.splitlines():
        create, alter = _CREATE.match(line), _ALTER.match(line)
        found = create or alter
        if found is None or _plain(found["name"]) not in missing:
            continue
        connection.execute(attempted, line.encode())
        if create:
            made.append(_plain(found["name"]))
    return made
