# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role may do in a cluster, as grants that can be compared, made and taken back.

A grant is kept as the words of SQL that name it, quoted by the server itself, so that any name is right in them.
What is looked at is what a role for backups can need: PostgreSQL's own roles, EXECUTE on its functions, CONNECT, and
reading. Whatever else somebody has granted is neither seen nor touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .connection import Connection

_MEMBERSHIPS = """
SELECT quote_ident(granted.rolname) FROM pg_auth_members AS membership
JOIN pg_roles AS granted ON granted.oid = membership.roleid JOIN pg_roles AS member ON member.oid = membership.member
WHERE member.rolname = %s AND granted.rolname LIKE 'pg\\_%%'
"""
_CONNECT = """
SELECT format('CONNECT ON DATABASE %%I', datname) FROM pg_database, aclexplode(datacl) AS each
JOIN pg_roles AS grantee ON grantee.oid = each.grantee WHERE grantee.rolname = %s AND privilege_type = 'CONNECT'
"""
_CLOSED_DATABASES = """
SELECT format('CONNECT ON DATABASE %%I', datname) FROM pg_database WHERE datname = ANY(%s) AND NOT EXISTS (
    SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE grantee = 0 AND privilege_type = 'CONNECT')
"""
_EXECUTE = """
SELECT format('EXECUTE ON FUNCTION %%s', pg_proc.oid::regprocedure) FROM pg_proc, aclexplode(proacl) AS each
JOIN pg_roles AS grantee ON grantee.oid = each.grantee
WHERE grantee.rolname = %s AND pronamespace = 'pg_catalog'::regnamespace
"""
_CLOSED_FUNCTIONS = """
SELECT format('EXECUTE ON FUNCTION %%s', oid::regprocedure) FROM pg_proc
WHERE oid::regprocedure::text = ANY(%s) AND NOT EXISTS (
    SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0)
"""

# Schemas and tables of users. A dump locks tables and reads them and sequences; of views it takes the definition only.
_SCHEMAS = "nspname <> 'information_schema' AND nspname NOT LIKE 'pg\\_%%'"
_RELATIONS = f"relkind IN ('r', 'p', 'S') AND {_SCHEMAS}"
_KIND = "CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END"
_READABLE = f"""
SELECT '', format('USAGE ON SCHEMA %%I', nspname) FROM pg_namespace WHERE {_SCHEMAS}
UNION ALL
SELECT '', format('SELECT ON %%s %%I.%%I', {_KIND}, nspname, relname)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE {_RELATIONS}
"""
_OWNERS = f"""
SELECT relowner FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE {_RELATIONS}
UNION SELECT nspowner FROM pg_namespace WHERE {_SCHEMAS}
UNION SELECT lomowner FROM pg_largeobject_metadata
UNION SELECT datdba FROM pg_database WHERE datname = current_database()
"""
_DEFAULTS = f"""
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %%I ', rolname), privilege
FROM pg_roles, unnest(%s::text[]) AS privilege
WHERE oid IN ({_OWNERS}) AND rolname NOT LIKE 'pg\\_%%' AND rolname <> %s
"""
_LARGE_OBJECTS = "SELECT '', format('SELECT ON LARGE OBJECT %%s', oid) FROM pg_largeobject_metadata"
_GRANTED = f"""
SELECT '', format('USAGE ON SCHEMA %%I', nspname) FROM pg_namespace, aclexplode(nspacl) AS each
WHERE each.grantee = %(role)s AND privilege_type = 'USAGE' AND {_SCHEMAS}
UNION ALL
SELECT '', format('SELECT ON %%s %%I.%%I', {_KIND}, nspname, relname)
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace, aclexplode(relacl) AS each
WHERE each.grantee = %(role)s AND privilege_type = 'SELECT' AND {_RELATIONS}
UNION ALL
SELECT '', format('SELECT ON LARGE OBJECT %%s', oid) FROM pg_largeobject_metadata, aclexplode(lomacl) AS each
WHERE each.grantee = %(role)s AND privilege_type = 'SELECT'
UNION ALL
SELECT format('ALTER DEFAULT PRIVILEGES FOR ROLE %%I ', rolname)
    || CASE WHEN nspname IS NULL THEN '' ELSE format('IN SCHEMA %%I ', nspname) END,
    privilege_type || ' ON ' || CASE defaclobjtype
        WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END
FROM pg_default_acl JOIN pg_roles ON pg_roles.oid = defaclrole
LEFT JOIN pg_namespace ON pg_namespace.oid = defaclnamespace, aclexplode(defaclacl) AS each
WHERE each.grantee = %(role)s AND defaclobjtype IN ('r', 'S', 'n', 'L') AND privilege_type IN ('SELECT', 'USAGE')
    AND (defaclobjtype = 'n') = (privilege_type = 'USAGE')
"""


@dataclass(frozen=True, order=True)
class Grant:
    """Something that a role may do, in one database, or everywhere."""

    database: str  # where it is made and kept; empty for what the whole cluster shares
    prefix: str  # what stands before GRANT: whose future objects are meant
    privilege: str

    def statement(self, role: str, *, revoke: bool = False) -> str:
        """The SQL that makes it, or takes it back; `role` is quoted."""
        return f"{self.prefix}{'REVOKE' if revoke else 'GRANT'} {self.privilege} {'FROM' if revoke else 'TO'} {role}"

    def __str__(self) -> str:
        """A line for people."""
        where = f" in {self.database}" if self.database else ""
        return f"{self.prefix}GRANT {self.privilege}{where}"


def _several(connection: Connection, what: str, query: str, *params: object) -> list[tuple[str, ...]]:
    return connection.rows(f"reading {what}", query, *params)


def shared(connection: Connection, role: str) -> set[Grant]:
    """What a role has been granted that is not in a database."""
    rows = _several(connection, "the role's memberships", _MEMBERSHIPS, role)
    rows += _several(connection, "the role's databases", _CONNECT, role)
    return {Grant("", "", privilege) for (privilege,) in rows}


def connecting(connection: Connection, databases: Sequence[str]) -> set[Grant]:
    """What it takes to be let into databases; mostly nothing, because everybody is."""
    rows = _several(connection, "who is let into the databases", _CLOSED_DATABASES, list(databases))
    return {Grant("", "", privilege) for (privilege,) in rows}


def functions(connection: Connection, database: str, role: str) -> set[Grant]:
    """PostgreSQL's functions that a role was allowed to call in this database."""
    rows = _several(connection, "the role's functions", _EXECUTE, role)
    return {Grant(database, "", privilege) for (privilege,) in rows}


def calling(connection: Connection, database: str, names: Sequence[str]) -> set[Grant]:
    """What it takes to call functions in this database, as far as not everybody may."""
    rows = _several(connection, "who may call the functions", _CLOSED_FUNCTIONS, list(names))
    return {Grant(database, "", privilege) for (privilege,) in rows}


def reading(connection: Connection, database: str, role_oid: int) -> set[Grant]:
    """What a role was granted to read in this database, now and in future."""
    attempted = f"reading what the role may read in {database}"
    rows = connection.named_rows(attempted, _GRANTED, role=role_oid)
    return {Grant(database, prefix, privilege) for prefix, privilege in rows}


def reading_all(connection: Connection, database: str, role: str, major: int, *, tables: bool) -> set[Grant]:
    """What it takes to dump this database, and with `tables` no role of PostgreSQL's own that may read them all.

    That role covers no large objects. Before 18 nobody can grant those that are yet to come.
    """
    future = ["SELECT ON TABLES", "SELECT ON SEQUENCES", "USAGE ON SCHEMAS"] if tables else []
    future += ["SELECT ON LARGE OBJECTS"] if major >= 18 else []
    what = f"what there is to read in {database}"
    rows = _several(connection, what, _LARGE_OBJECTS.replace("%%", "%"))
    rows += _several(connection, what, _READABLE.replace("%%", "%")) if tables else []
    rows += _several(connection, what, _DEFAULTS, future, role)
    return {Grant(database, prefix, privilege) for prefix, privilege in rows}
