# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to a database itself and not to what is in it: encoding and locale, owner, settings, privileges.

pg_dump writes it under the database's old name. Here it is read beside the dump, so that a database of any name can
be made like it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..thirdparty import require
from .connection import Connection

_TEXTS = {
    "encoding": "pg_encoding_to_char(encoding)",
    "collate": "datcollate",
    "ctype": "datctype",
    "owner": "pg_get_userbyid(datdba)",
    "comment": "shobj_description(d.oid, 'pg_database')",
    # Since 15 a database may have its locale from elsewhere than the operating system.
    "provider": "to_jsonb(d) ->> 'datlocprovider'",
    "locale": "coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale')",
    "rules": "to_jsonb(d) ->> 'daticurules'",
}
_SETTINGS = """
    SELECT split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(setconfig) AS setting
    WHERE datname = current_database() AND setrole = 0
"""
_PRIVILEGES = """
    SELECT coalesce(r.rolname, ''), privilege_type, is_grantable
    FROM pg_database, aclexplode(datacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
    WHERE datname = current_database() ORDER BY 1, 2
"""
_PROVIDERS = {"i": "icu", "b": "builtin"}
# Lists of names: what the catalog has of them is SQL already.
_NAME_LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)


def read(connection: Connection) -> dict[str, Any]:
    """Of the database that is connected to."""
    attempted = "reading the database's properties"
    query = f"SELECT {', '.join(_TEXTS.values())} FROM pg_database d WHERE datname = current_database()"
    values = connection.row(attempted, query)
    found: dict[str, Any] = {name: str(value) for name, value in zip(_TEXTS, values) if value is not None}
    found["settings"] = [list(row) for row in connection.rows(attempted, _SETTINGS)]
    granted = [list(row) for row in connection.rows(attempted, _PRIVILEGES)]
    if granted:
        found["privileges"] = granted
    return found


def creation(name: str, had: Mapping[str, Any], owner: str | None) -> Any:
    """The statement that makes a database like the one that had these properties; else like the server's template."""
    sql = require("psycopg.sql")
    words = [sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))]
    if owner is not None:
        words.append(sql.SQL("OWNER {}").format(sql.Identifier(owner)))
    options = {"encoding": "ENCODING", "collate": "LC_COLLATE", "ctype": "LC_CTYPE", "rules": "ICU_RULES"}
    words += [
        sql.SQL("{} {}").format(sql.SQL(option), sql.Literal(had[key])) for key, option in options.items() if key in had
    ]
    provider = _PROVIDERS.get(had.get("provider", ""))
    if provider is not None and "locale" in had:
        words.append(sql.SQL("LOCALE_PROVIDER {}").format(sql.SQL(provider)))
        words.append(sql.SQL("{}_LOCALE {}").format(sql.SQL(provider.upper()), sql.Literal(had["locale"])))
    return sql.SQL(" ").join(words)


def settings(name: str, had: Mapping[str, Any]) -> Iterator[Any]:
    """Statements that give a database its comment and its settings."""
    sql = require("psycopg.sql")
    database = sql.Identifier(name)
    if "comment" in had:
        yield sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, sql.Literal(had["comment"]))
    for setting, value in had.get("settings", []):
        given = sql.SQL(value or "''") if setting in _NAME_LISTS else sql.Literal(value)
        parameter = sql.SQL(".").join(sql.Identifier(part) for part in setting.split("."))
        yield sql.SQL("ALTER DATABASE {} SET {} TO {}").format(database, parameter, given)


def privileges(name: str, had: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Statements that grant what had been granted, each with its role; nothing where nobody had changed that."""
    sql = require("psycopg.sql")
    if "privileges" not in had:
        return
    database = sql.Identifier(name)
    yield "", sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database)
    for role, privilege, grantable in had["privileges"]:
        grantee = sql.Identifier(role) if role else sql.SQL("PUBLIC")
        option = sql.SQL(" WITH GRANT OPTION" if grantable else "")
        grant = sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(sql.SQL(privilege), database, grantee, option)
        yield role, grant
