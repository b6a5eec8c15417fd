# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role for backups in the desired state: what it needs, and nothing beyond that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from ...errors import PreconditionError, UnsupportedError
from ...ports import ProgressSink
from ...postgres import role_grants, role_password
from ...postgres.connection import Connection, connect
from ...postgres.role_grants import Grant
from ...postgres.server import NEWEST_MAJOR, OLDEST_MAJOR
from ...report.events import PhaseStarted
from ...specs import ConnectionSpec
from .needs import Needs, needs

THIRD_PARTY = ("psycopg", "psycopg.sql", "psycopg.pq")
_NAME_BYTES = 63
_STATEMENTS_AT_ONCE = 500
# Attributes by their columns, in the order in which they are shown.
_COLUMNS = {
    "SUPERUSER": "rolsuper",
    "CREATEDB": "rolcreatedb",
    "CREATEROLE": "rolcreaterole",
    "INHERIT": "rolinherit",
    "LOGIN": "rolcanlogin",
    "REPLICATION": "rolreplication",
    "BYPASSRLS": "rolbypassrls",
}


@dataclass(frozen=True)
class RoleRequest:
    """What the user wants; None leaves as it is what there is."""

    connection: ConnectionSpec
    data_directory: Path | None
    name: str
    kinds: Sequence[str]
    databases: Sequence[str] | None = None
    password: str | None = field(default=None, repr=False)
    connection_limit: int | None = None
    valid_until: str | None = None
    absent: bool = False


@dataclass(frozen=True)
class RoleResult:
    """The role before and after, as lines to be compared; what was done, without any password."""

    changed: bool
    before: tuple[str, ...]
    after: tuple[str, ...]
    statements: tuple[str, ...]


@dataclass(frozen=True)
class _Role:
    """A role as it is."""

    oid: int
    attributes: Mapping[str, bool]
    connection_limit: int
    valid_until: str | None
    grants: frozenset[Grant]

    def lines(self, password: str) -> tuple[str, ...]:
        """It in words, one thing a line."""
        return (
            *(name for name, is_so in self.attributes.items() if is_so),
            f"CONNECTION LIMIT {self.connection_limit}",
            f"VALID UNTIL {self.valid_until or 'infinity'}",
            password,
            *map(str, sorted(self.grants)),
        )


def run(request: RoleRequest, sink: ProgressSink, *, check_mode: bool = False) -> RoleResult:
    """Have the role as described, or not at all."""
    _require_name(request.name)
    with connect(request.connection, request.data_directory) as connection:
        job = _Job(request, connection, sink)
        return job.drop(check_mode) if request.absent else job.bring_about(check_mode)


class _Job:
    """One run, with a session in the database that was named."""

    def __init__(self, request: RoleRequest, connection: Connection, sink: ProgressSink) -> None:
        self._request = request
        self._connection = connection
        self._sink = sink
        self._attempted = f"looking after the role {request.name}"
        self._major, self._here, self._quoted = self._server()
        query = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1"
        self._databases = [name for (name,) in connection.rows(self._attempted, query)]

    def _server(self) -> tuple[int, str, str]:
        version, here, quoted, is_super, recovers = self._connection.row(
            self._attempted,
            "SELECT current_setting('server_version_num')::int, current_database(), quote_ident(%s),"
            " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), pg_is_in_recovery()",
            self._request.name,
        )
        if not OLDEST_MAJOR <= version // 10000 <= NEWEST_MAJOR:
            raise UnsupportedError(
                self._attempted,
                f"the server is PostgreSQL {version // 10000}.",
                f"Lifeboat supports PostgreSQL {OLDEST_MAJOR} to {NEWEST_MAJOR}.",
                code="postgres_version_unsupported",
            )
        if recovers:
            raise PreconditionError(
                self._attempted,
                "the server is a standby, which has its roles from the primary.",
                "Run it against the primary.",
                code="role_on_standby",
            )
        if not is_super:
            raise PreconditionError(
                self._attempted,
                "the role that this is done as is no superuser.",
                "Connect as a superuser: nobody else can grant what backups need.",
                code="superuser_needed",
            )
        return version // 10000, here, quoted

    # --- the state

    def _find(self) -> _Role | None:
        columns = ", ".join(_COLUMNS.values())
        query = f"SELECT oid::bigint, rolconnlimit, rolvaliduntil::text, {columns} FROM pg_roles WHERE rolname = %s"
        rows = self._connection.rows(self._attempted, query, self._request.name)
        if not rows:
            return None
        oid, limit, until, *attributes = rows[0]
        role = _Role(oid, dict(zip(_COLUMNS, attributes)), limit, until, frozenset())
        if role.attributes["SUPERUSER"]:
            raise PreconditionError(
                self._attempted,
                "it is a superuser, which may be more to somebody than a role for backups.",
                "Choose another name, or take it back by hand: ALTER ROLE ... NOSUPERUSER.",
                code="backup_role_is_superuser",
            )
        grants = role_grants.shared(self._connection, self._request.name)
        for database in self._databases:
            with self._in(database) as there:
                grants |= role_grants.functions(there, database, self._request.name)
                grants |= role_grants.reading(there, database, oid)
        return replace(role, grants=frozenset(grants))

    def _wanted(self, need: Needs) -> frozenset[Grant]:
        dumped = self._dumped() if need.dumps else []
        grants = {Grant("", "", name) for name in need.memberships}
        grants |= role_grants.connecting(self._connection, [*dumped, *([self._here] if need.speaks_sql else [])])
        grants |= role_grants.calling(self._connection, self._here, need.functions)
        for database in dumped:
            with self._in(database) as there:
                grants |= role_grants.reading_all(
                    there, database, self._request.name, self._major, tables=need.table_by_table
                )
        return frozenset(grants)

    def _dumped(self) -> list[str]:
        """The databases to be dumped: those that are named, or all that are no templates."""
        if self._request.databases is None:
            query = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1"
            return [name for (name,) in self._connection.rows(self._attempted, query)]
        missing = [name for name in self._request.databases if name not in self._databases]
        if missing:
            raise PreconditionError(
                self._attempted,
                f"there is no database {missing[0]} that lets anybody in.",
                f"Correct databases; there are: {', '.join(self._databases)}.",
                code="role_or_database_missing",
            )
        return list(dict.fromkeys(self._request.databases))

    @contextmanager
    def _in(self, database: str) -> Iterator[Connection]:
        if database == self._here:
            yield self._connection
            return
        with connect(replace(self._request.connection, database=database), self._request.data_directory) as there:
            yield there

    # --- changing it

    def bring_about(self, check_mode: bool) -> RoleResult:
        """The role as it shall be."""
        self._sink.emit(PhaseStarted("comparing", f"the role {self._request.name}"))
        now = self._find()
        need = needs(self._request.kinds, self._request.databases, self._major)
        shall = self._as_described(now, need)
        keeps, same = self._password_state(now)
        options = self._options(now, shall)
        had = now.grants if now else frozenset()
        revoked, granted = sorted(had - shall.grants), sorted(shall.grants - had)
        statements = [f"{'ALTER' if now else 'CREATE'} ROLE {self._quoted} {' '.join(options)}"] if options else []
        by_database: dict[str, list[str]] = {"": statements}
        for grants, revoke in ((revoked, True), (granted, False)):
            for each in grants:
                by_database.setdefault(each.database, []).append(each.statement(self._quoted, revoke=revoke))
        changed = not same or any(by_database.values())
        if changed and not check_mode:
            self._sink.emit(PhaseStarted("granting", f"the role {self._request.name}"))
            self._change(by_database, None if same else self._request.password)
        password = _password_line(keeps)
        new_password = "PASSWORD set anew" if not same else password
        return RoleResult(
            changed,
            now.lines(password) if now else (),
            shall.lines(new_password),
            tuple(statement for group in by_database.values() for statement in group),
        )

    def _as_described(self, now: _Role | None, need: Needs) -> _Role:
        limit, until = self._request.connection_limit, self._request.valid_until
        if until is not None:
            (until,) = self._connection.row("reading valid_until", "SELECT %s::timestamptz::text", until)
        return _Role(
            now.oid if now else 0,
            {name: need.attributes[name] for name in _COLUMNS},
            limit if limit is not None else now.connection_limit if now else -1,
            until if until is not None else now.valid_until if now else None,
            self._wanted(need),
        )

    def _options(self, now: _Role | None, shall: _Role) -> list[str]:
        """What CREATE or ALTER ROLE has to say."""
        words = [
            f"{'' if is_so else 'NO'}{name}"
            for name, is_so in shall.attributes.items()
            if now is None or now.attributes[name] != is_so
        ]
        if now is None or now.connection_limit != shall.connection_limit:
            words.append(f"CONNECTION LIMIT {shall.connection_limit}")
        if shall.valid_until is not None and (now is None or now.valid_until != shall.valid_until):
            words.append(f"VALID UNTIL '{shall.valid_until}'")
        return words

    def _password_state(self, now: _Role | None) -> tuple[bool, bool]:
        """Whether it has one, and whether that is as it shall be."""
        query = "SELECT rolpassword FROM pg_authid WHERE rolname = %s"
        rows = self._connection.rows("reading the role's password", query, self._request.name) if now else []
        kept = rows[0][0] if rows else None
        wanted = self._request.password
        return kept is not None, wanted is None or role_password.matches(kept, wanted, self._request.name)

    def _change(self, by_database: Mapping[str, Sequence[str]], password: str | None) -> None:
        """The cluster's own first: the role must exist before anything is granted in a database."""
        with self._transaction(self._connection):
            self._execute(self._connection, by_database[""])
            if password is not None:
                self._connection.set_password(self._attempted, self._request.name, password)
        for database, statements in by_database.items():
            if database and statements:
                with self._in(database) as there, self._transaction(there):
                    self._execute(there, statements)

    def _execute(self, connection: Connection, statements: Iterable[str]) -> None:
        remaining = iter(statements)
        while several := list(islice(remaining, _STATEMENTS_AT_ONCE)):
            connection.rows(self._attempted, ";".join(several))

    @contextmanager
    def _transaction(self, connection: Connection) -> Iterator[None]:
        """Without its end the session's end takes it all back."""
        connection.rows(self._attempted, "BEGIN")
        yield
        connection.rows(self._attempted, "COMMIT")

    # --- and taking it away

    def drop(self, check_mode: bool) -> RoleResult:
        """No such role, and nothing granted to it anywhere."""
        now = self._find()
        if now is None:
            return RoleResult(False, (), (), ())
        self._require_nothing_owned(now)
        has_password, _same = self._password_state(now)
        disowned, dropped = f"DROP OWNED BY {self._quoted}", f"DROP ROLE {self._quoted}"
        if not check_mode:
            self._sink.emit(PhaseStarted("dropping", f"the role {self._request.name}"))
            for database in self._databases:
                with self._in(database) as there:
                    there.rows(self._attempted, disowned)
            self._connection.rows(self._attempted, dropped)
        return RoleResult(True, now.lines(_password_line(has_password)), (), (disowned, dropped))

    def _require_nothing_owned(self, role: _Role) -> None:
        query = (
            "SELECT count(*), string_agg(DISTINCT coalesce(datname, 'the whole cluster'), ', ') FROM pg_shdepend"
            " LEFT JOIN pg_database ON pg_database.oid = dbid"
            " WHERE refclassid = 'pg_authid'::regclass AND refobjid = %s AND deptype = 'o'"
        )
        count, where = self._connection.row(self._attempted, query, role.oid)
        if count:
            raise PreconditionError(
                self._attempted,
                f"it owns {count} object{'s' if count > 1 else ''} in {where}, which would be lost with it.",
                "Give them to another role first: REASSIGN OWNED BY ... TO ..., in each of these databases.",
                code="backup_role_owns_objects",
            )


def _password_line(is_set: bool) -> str:
    return "PASSWORD set" if is_set else "no PASSWORD"


def _require_name(name: str) -> None:
    if not name or "\0" in name or len(name.encode()) > _NAME_BYTES or name.startswith("pg_"):
        raise PreconditionError(
            "looking after the role for backups",
            f"{name!r} cannot be a role's name.",
            f"Give name as 1 to {_NAME_BYTES} bytes that do not begin with pg_.",
            code="role_name_invalid",
        )
