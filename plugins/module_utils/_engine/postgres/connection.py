# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to the live server, with errors that name the cause and the remedy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InterruptedJobError, LifeboatError, PreconditionError
from ..specs import ConnectionSpec
from ..thirdparty import require
from . import postmaster_pid

CONNECT_TIMEOUT_SECONDS = 10
Row = tuple[Any, ...]


@dataclass(frozen=True)
class _Cause:
    """A reason to be refused, known by what libpq or the server says: libpq has no codes for these."""

    phrases: tuple[str, ...]
    code: str
    remedy: str


_CONNECT_CAUSES = (
    _Cause(
        (
            "password authentication failed",
            "no password supplied",
            "Peer authentication failed",
            "Ident authentication failed",
        ),
        code="authentication_failed",
        remedy="Check login_user and login_password, and the server's pg_hba.conf.",
    ),
    _Cause(
        ("no pg_hba.conf entry",),
        code="authentication_not_permitted",
        remedy="Add a line for this user and address to pg_hba.conf.",
    ),
    _Cause(
        ("Connection refused", "No such file or directory", "could not connect", "timeout expired", "No route to host"),
        code="server_not_reachable",
        remedy="Start the server, or correct login_host, login_port or login_unix_socket.",
    ),
    _Cause(
        ("is starting up", "is shutting down", "recovery mode"),
        code="server_not_ready",
        remedy="Wait until the server is up, then run again.",
    ),
    _Cause(
        ("role ", "database "),
        code="role_or_database_missing",
        remedy="Create it, or correct login_user or login_db.",
    ),
)

# Reasons that only a replication connection has, looked for before the others.
_REPLICATION_CAUSES = (
    _Cause(
        ("no pg_hba.conf entry for replication connection", "pg_hba.conf rejects replication connection"),
        code="authentication_not_permitted",
        remedy="Add a line with the database `replication` for this user and address to pg_hba.conf, and reload.",
    ),
    _Cause(
        ("must be superuser or replication role", "permission denied to start WAL sender"),
        code="role_lacks_privilege",
        remedy="Run: ALTER ROLE <the role> REPLICATION.",
    ),
    _Cause(
        ("number of requested standby connections exceeds",),
        code="wal_senders_exhausted",
        remedy="Raise max_wal_senders, or end another replication connection: see pg_stat_replication.",
    ),
    _Cause(
        ("too many clients", "remaining connection slots", "too many connections"),
        code="connections_exhausted",
        remedy="Wait until other sessions end, or raise the limit that is named.",
    ),
)


def target_text(options: dict[str, Any]) -> str:
    """The server's address for messages."""
    return f"{options.get('host') or 'the default socket'}, port {options.get('port') or 'default'}"


def connect_options(spec: ConnectionSpec, data_directory: Path | None) -> dict[str, Any]:
    """libpq's parameters; address and port default to what the data directory's server says of itself."""
    running = postmaster_pid.read(data_directory) if data_directory else None
    host: str | None = spec.socket_directory or spec.host
    if host is None and running is not None:
        host = running.socket_directory or running.listen_address or None
    port = spec.port
    if port is None and running is not None:
        port = running.port
    options = {
        "host": host,
        "port": port,
        "user": spec.user,
        "password": spec.password,
        "dbname": spec.database,
        "sslmode": spec.ssl_mode,
        "sslrootcert": spec.ca_cert,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "application_name": "lifeboat",
        # Of several hosts, the one that is the primary at the moment.
        "target_session_attrs": "read-write" if host is not None and "," in host else None,
    }
    return {key: value for key, value in options.items() if value is not None}


def connect_error(attempted: str, text: str, *, replication: bool = False) -> LifeboatError:
    """Why no session came about."""
    text = " ".join(text.split())
    for cause in (*(_REPLICATION_CAUSES if replication else ()), *_CONNECT_CAUSES):
        if any(phrase in text for phrase in cause.phrases):
            return PreconditionError(attempted, f"{text}.", cause.remedy, code=cause.code)
    return PreconditionError(
        attempted, f"{text}.", "Check the login options and the server's log.", code="connection_failed"
    )


def _query_error(attempted: str, exc: Any, *, session_lost: bool) -> LifeboatError:
    text = " ".join(str(exc).split())
    if session_lost:
        return InterruptedJobError(
            attempted,
            f"the server ended the session ({text}).",
            "It was restarted, stopped or has crashed: see its log, then run this again.",
            code="server_connection_lost",
        )
    if "promoted during online backup" in text:
        return InterruptedJobError(
            attempted,
            "the standby was promoted during the backup, which made the backup useless.",
            "Run it again; it goes on with what it has read.",
            code="standby_promoted",
        )
    if getattr(exc, "sqlstate", None) == "42501":
        return PreconditionError(
            attempted,
            f"the role lacks a privilege ({text}).",
            "Use a superuser, or have the module pg_backup_role grant what this kind of backup needs.",
            code="role_lacks_privilege",
        )
    return PreconditionError(attempted, f"{text}.", "See the server's log for details.", code="query_failed")


class Connection:
    """One session in autocommit mode."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._error: type[Exception] = require("psycopg").Error

    def rows(self, attempted: str, query: str, *params: Any) -> list[Row]:
        """Run one statement; `attempted` says for the error message what it was for."""
        try:
            cursor = self._raw.execute(query, params or None)
            return list(cursor.fetchall()) if cursor.description else []
        except self._error as exc:
            raise _query_error(attempted, exc, session_lost=self._raw.closed) from exc

    def named_rows(self, attempted: str, query: str, **params: Any) -> list[Row]:
        """The same with parameters by name, which may stand in several places."""
        try:
            return list(self._raw.execute(query, params).fetchall())
        except self._error as exc:
            raise _query_error(attempted, exc, session_lost=self._raw.closed) from exc

    def set_password(self, attempted: str, role: str, password: str) -> None:
        """Give a role a password; it is hashed here, so that no log of statements shows it."""
        sql = require("psycopg.sql")
        (algorithm,) = self.row(attempted, "SELECT current_setting('password_encryption')")
        method = "md5" if algorithm == "md5" else "scram-sha-256"
        try:
            hashed = self._raw.pgconn.encrypt_password(password.encode(), role.encode(), method.encode())
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
            self._raw.execute(statement.format(sql.Identifier(role), sql.Literal(hashed.decode())))
        except self._error as exc:
            raise _query_error(attempted, exc, session_lost=self._raw.closed) from exc

    def row(self, attempted: str, query: str, *params: Any) -> Row:
        """The only row."""
        return self.rows(attempted, query, *params)[0]

    def execute(self, attempted: str, statement: Any) -> None:
        """Run a statement that was put together of identifiers and literals."""
        try:
            self._raw.execute(statement)
        except self._error as exc:
            raise _query_error(attempted, exc, session_lost=self._raw.closed) from exc

    def write_file(self, attempted: str, path: str, line: str) -> None:
        """Have the server write one line into a file of its own; COPY doubles the backslashes."""
        sql = require("psycopg.sql")
        statement = sql.SQL("COPY (SELECT {}) TO {}").format(sql.Literal(line), sql.Literal(path))
        try:
            self._raw.execute(statement)
        except self._error as exc:
            raise _query_error(attempted, exc, session_lost=self._raw.closed) from exc

    def alter_system(self, name: str, value: str | None) -> None:
        """Set a parameter in postgresql.auto.conf, or remove it there (None)."""
        sql = require("psycopg.sql")
        if value is None:
            statement = sql.SQL("ALTER SYSTEM RESET {}").format(sql.Identifier(name))
        else:
            statement = sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(name), sql.Literal(value))
        try:
            self._raw.execute(statement)
        except self._error as exc:
            raise _query_error(f"setting {name}", exc, session_lost=self._raw.closed) from exc


@contextlib.contextmanager
def connect(spec: ConnectionSpec, data_directory: Path | None, *, users_queries: bool = False) -> Iterator[Connection]:
    """Open a session for the length of a `with` block.

    Our own queries see system names only, so that no schema of the user's can shadow them; the
    user's queries see what they see at home.
    """
    psycopg = require("psycopg")
    options = connect_options(spec, data_directory)
    if not users_queries:
        options["options"] = "-c search_path=pg_catalog"
    attempted = f"connecting to PostgreSQL as {spec.user} ({target_text(options)})"
    try:
        raw = psycopg.connect(autocommit=True, **options)
    except psycopg.Error as exc:
        raise connect_error(attempted, str(exc)) from exc
    try:
        yield Connection(raw)
    finally:
        raw.close()
