# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database that a dump is brought back into: made for it, there already, or one that it replaces in a moment."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from ...clock import Clock
from ...errors import LifeboatError, PreconditionError
from ...postgres import database_properties
from ...postgres.connection import Connection
from ...thirdparty import require

IF_EXISTS = ("fail", "add", "drop", "replace")
_LONGEST_NAME = 63  # bytes, of any identifier
_PATIENCE_SECONDS, _POLL_SECONDS = 10.0, 0.05


class Target:
    """One database by its name, reached from another one."""

    def __init__(self, connection: Connection, name: str, if_exists: str, clock: Clock) -> None:
        self._connection = connection
        self.name = name
        self._clock = clock
        self.exists = self._is_there(name)
        self._if_exists = if_exists if self.exists else "add"
        self._made = False

    @property
    def replaces(self) -> bool:
        """Whether what is restored takes the place of what is there."""
        return self.exists and self._if_exists == "replace"

    @property
    def working_name(self) -> str:
        """The database to restore into."""
        return self._beside("restoring") if self.replaces else self.name

    def require_possible(self) -> None:
        """Refuse what would overwrite something that nobody has given up."""
        if self.exists and self._if_exists == "fail":
            raise PreconditionError(
                f"restoring into the database {self.name}",
                "it exists.",
                "Give another target_database, or say with if_exists what shall become of it: replace (it is kept under"
                " another name), drop, or add (restore into it).",
                code="database_exists",
                database=self.name,
            )

    def prepare(self, properties: Mapping[str, Any], *, no_owner: bool, no_privileges: bool) -> list[str]:
        """Have an empty database to restore into, unless what is there shall be added to.

        The roles that had privileges on the database and are not there.
        """
        if self.exists and self._if_exists == "add":
            return []
        if self.exists and self._if_exists == "drop":
            self._drop(self.name)
        if self._is_there(self.working_name):
            raise PreconditionError(
                f"creating the database {self.working_name}",
                "it exists: another restore may be running, or one was killed.",
                "If it is left from a restore that was killed, drop it; then run this again.",
                code="database_in_the_way",
                database=self.working_name,
            )
        attempted, name = f"creating the database {self.working_name}", self.working_name
        roles = {role for (role,) in self._rows("SELECT rolname FROM pg_roles")} | {""}
        owner = properties.get("owner") if not no_owner else None
        statement = database_properties.creation(name, properties, owner if owner in roles else None)
        self._connection.execute(attempted, statement)
        self._made = True
        missing = []
        for statement in database_properties.settings(name, properties):
            self._connection.execute(attempted, statement)
        for role, statement in () if no_privileges else database_properties.privileges(name, properties):
            if role in roles:
                self._connection.execute(attempted, statement)
            else:
                missing.append(role)
        return missing

    def give_up(self) -> None:
        """Remove what was made for a restore that has failed."""
        if self._made:
            with contextlib.suppress(LifeboatError):  # what made it fail is what must be told
                self._drop(self.working_name)

    def finish(self) -> str | None:
        """Let what was restored take its place; the name under which the old database is kept."""
        if not self.replaces:
            return None
        kept = self._beside(self._clock.now().strftime("before_%Y%m%dT%H%M%SZ"))
        attempted = f"putting the restored database in the place of {self.name}"
        self._alter(attempted, self.name, "ALLOW_CONNECTIONS false")
        renamed = False
        try:
            self._end_sessions(self.name)
            self._rename(attempted, self.name, kept)
            renamed = True
            self._rename(attempted, self.working_name, self.name)
        except BaseException:  # a signal, too: the database must not stay under its other name
            with contextlib.suppress(LifeboatError):
                if renamed:
                    self._rename(attempted, kept, self.name)
                self._alter(attempted, self.name, "ALLOW_CONNECTIONS true")
            raise
        self._alter(attempted, kept, "ALLOW_CONNECTIONS true")
        return kept

    def _beside(self, what: str) -> str:
        """A name beside the target's, short enough for PostgreSQL to keep all of it."""
        ending = f"_{what}".encode()
        cut = self.name.encode()[: _LONGEST_NAME - len(ending)].decode("utf-8", "ignore")
        return cut + ending.decode()

    def _is_there(self, name: str) -> bool:
        return bool(self._rows("SELECT 1 FROM pg_database WHERE datname = %s", name))

    def _rows(self, query: str, *params: object) -> list[tuple[object, ...]]:
        return self._connection.rows(f"looking at the database {self.name}", query, *params)

    def _drop(self, name: str) -> None:
        attempted = f"dropping the database {name}"
        self._alter(attempted, name, "ALLOW_CONNECTIONS false")
        self._end_sessions(name)
        sql = require("psycopg.sql")
        self._connection.execute(attempted, sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))

    def _rename(self, attempted: str, old: str, new: str) -> None:
        sql = require("psycopg.sql")
        statement = sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
        self._connection.execute(attempted, statement)

    def _alter(self, attempted: str, name: str, what: str) -> None:
        sql = require("psycopg.sql")
        statement = sql.SQL("ALTER DATABASE {} {}").format(sql.Identifier(name), sql.SQL(what))
        self._connection.execute(attempted, statement)

    def _end_sessions(self, name: str) -> None:
        """Sessions of others, which would keep a database from being renamed or dropped; wait until they have gone."""
        attempted = f"ending the sessions of the database {name}"
        sessions = "FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
        self._connection.rows(attempted, f"SELECT pg_terminate_backend(pid) {sessions}", name)
        give_up = self._clock.monotonic() + _PATIENCE_SECONDS
        while self._connection.rows(attempted, f"SELECT 1 {sessions} LIMIT 1", name):
            if self._clock.monotonic() > give_up:
                return  # what is done next says who is in the way
            self._clock.sleep(_POLL_SECONDS)
