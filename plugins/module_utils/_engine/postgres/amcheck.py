# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every table and index of a scratch server looked through by PostgreSQL's own amcheck."""

from __future__ import annotations

from ..errors import IntegrityError
from ..ports import ProcessRunner
from ..specs import ConnectionSpec
from .connection import connect
from .programs import Programs

_DATABASES = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1"
# What pg_amcheck does from PostgreSQL 14 on, for its predecessor without the program.
_CHECK_INDEXES = (
    "SELECT count(bt_index_check(c.oid, true)) FROM pg_class c JOIN pg_am a ON a.oid = c.relam"
    " JOIN pg_index i ON i.indexrelid = c.oid"
    " WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence <> 't' AND i.indisready AND i.indisvalid"
)


def check_everything(programs: Programs, server: ConnectionSpec, jobs: int, runner: ProcessRunner) -> str:
    """Evidence in one sentence, or an error with what amcheck said."""
    if programs.major >= 14:
        argv = [programs.path("pg_amcheck"), "--all", "--install-missing", "--heapallindexed", "-j", str(jobs)]
        argv += ["-h", server.socket_directory or "", "-p", str(server.port), "-U", server.user]
        result = runner.run(argv, check=False, attempted="checking tables and indexes")
        if result.returncode != 0:
            raise _damaged((result.stdout + result.stderr).strip())
        return "pg_amcheck found all tables and indexes of all databases sound"
    checked = 0
    with connect(server, None) as connection:
        databases = [str(row[0]) for row in connection.rows("listing databases", _DATABASES)]
    for database in databases:
        spec = ConnectionSpec(
            user=server.user, socket_directory=server.socket_directory, port=server.port, database=database
        )
        with connect(spec, None) as connection:
            attempted = f"checking the indexes of {database}"
            connection.rows(attempted, "CREATE EXTENSION IF NOT EXISTS amcheck WITH SCHEMA public")
            checked += int(connection.row(attempted, _CHECK_INDEXES.replace("bt_", "public.bt_"))[0])
    return f"amcheck found {checked} btree indexes of {len(databases)} databases sound"


def _damaged(output: str) -> IntegrityError:
    lines = [line for line in output.splitlines() if line.strip()]
    return IntegrityError(
        "checking tables and indexes with pg_amcheck",
        f"it reported: {' / '.join(lines[:4]) or 'failure without a message'}.",
        "The data was damaged before the backup was taken: look at the original server and at older backups.",
        code="amcheck_failed",
        output=lines[:50],
    )
