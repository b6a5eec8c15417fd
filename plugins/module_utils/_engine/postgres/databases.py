# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The databases of a server, and moments at which their state can be read."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from ..clock import utc_text
from ..errors import PreconditionError
from .connection import Connection


@dataclass(frozen=True)
class Database:
    """One database, and how large it is on disk."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Snapshot:
    """A moment that others can read at, too, as long as the session that made it is open."""

    name: str
    time: str


def chosen(connection: Connection, names: Sequence[str]) -> list[Database]:
    """These databases, or all but the templates."""
    there = [
        Database(name, size)
        for name, size in connection.rows(
            "listing databases",
            "SELECT datname, CASE WHEN has_database_privilege(datname, 'CONNECT') THEN pg_database_size(oid) ELSE 0 END"
            " FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname",
        )
    ]
    if not names:
        return there
    by_name = {database.name: database for database in there}
    for name in names:
        if name not in by_name:
            near = difflib.get_close_matches(name, by_name, 3)
            known = f"near are {', '.join(near)}" if near else f"it has {', '.join(by_name)}"
            raise PreconditionError(
                "choosing what to dump",
                f"the server has no database {name} that can be connected to; {known}.",
                "Correct databases, or leave it out for all of them.",
                code="database_missing",
                database=name,
            )
    return [by_name[name] for name in dict.fromkeys(names)]


def take_snapshot(connection: Connection) -> Snapshot:
    """Hold this moment's state of the connection's database until the session ends."""
    attempted = "taking a snapshot"
    connection.rows(attempted, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    name, now = connection.row(attempted, "SELECT pg_export_snapshot(), now()")
    return Snapshot(name, utc_text(now))
