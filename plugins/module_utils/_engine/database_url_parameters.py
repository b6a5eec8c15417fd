# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands behind the question mark of a database URL, and what is made of it.

Drivers and ORMs put their own settings there. What says where the server is, who connects and how the
connection is protected is taken over, in whichever spelling. What is an application's own affair (pools, schemas,
names) is left out, and the user is told. What would lead to another server, or weaken the connection, if it were left
out is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from .errors import PreconditionError

ATTEMPTED = "reading database_url"
SSL_MODES = ("allow", "disable", "prefer", "require", "verify-ca", "verify-full")

# libpq's own words for what can stand before the question mark too; SQLAlchemy and others know them as well.
_TAKEN = {
    "host": "login_host",
    "port": "login_port",
    "user": "login_user",
    "username": "login_user",
    "password": "login_password",
    "dbname": "login_db",
    "database": "login_db",
    "sslrootcert": "ca_cert",
}
# Drivers' words for libpq's sslmode (node-postgres, asyncpg, JDBC, libpq of old).
_SSL_WORDS = {"no-verify": "require", "true": "require", "1": "require", "false": "disable", "0": "disable"}
_SSL_NAMES = ("sslmode", "ssl", "requiressl")
# Prisma's way to say that no certificate is checked: what sslmode=require means anyway.
_UNCHECKED = ("sslaccept", "accept_invalid_certs")
# Without these it would be another server, another way in, or an unprotected one.
_REFUSED = re.compile(
    r"ssl.*|tls.*|gss.*|krbsrvname|channel_binding|require_auth|requirepeer|hostaddr|service|servicefile|passfile|"
    r"replication|oauth.*|scram.*"
)
# Providers that tell their servers apart by what stands in options (Neon: endpoint, project).
_ROUTING = re.compile(r"(?:^|[\s-])(?:endpoint|project|cluster)\s*=", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,62}", re.ASCII)
_SECRET = re.compile(r"pass|pwd|secret|token|key", re.IGNORECASE)


@dataclass
class Query:
    """A query, taken apart: the settings of ours that it stands for, and what it has besides."""

    settings: dict[str, str] = field(default_factory=dict)
    hosts: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    pooler: bool = False
    secrets: list[str] = field(default_factory=list)


def decoded(text: str) -> str:
    """A part of a URL as it is meant. A % that begins nothing stays, as Python's drivers have it."""
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError as exc:
        raise _invalid("its percent-encoding is not UTF-8.", "Encode it as UTF-8.") from exc
    if "\0" in plain:
        raise _invalid("it has a zero byte.", "PostgreSQL has names without them only.")
    return plain


def pairs(text: str) -> list[tuple[str, str]]:
    """Names and raw values; a name that is none shows that the question mark belonged to something else."""
    found = []
    for word in filter(None, text.split("&")):
        name, _equals, value = word.partition("=")
        if not _NAME.fullmatch(name):
            raise _invalid(
                "what stands behind its question mark are no parameters.",
                "In a user's name, a password and a database's name, write ? as %3F and & as %26.",
            )
        found.append((name, value))
    return found


def secrets(text: str) -> list[str]:
    """Values that may be secrets, as they are and as they are written."""
    words = (word.partition("=") for word in text.split("&"))
    raw = [value for name, _equals, value in words if value and _SECRET.search(name)]
    return [*raw, *map(unquote, raw)]


def parse(text: str, given: frozenset[str]) -> Query:
    """Take a query apart. What options that are `given` beside the URL say about TLS is not looked for in it."""
    query = Query(secrets=secrets(text))
    for name, raw in pairs(text):
        value, key = decoded(raw), name.lower()
        if key == "host":
            query.hosts.append(value)
        elif key in _TAKEN:
            query.settings[_TAKEN[key]] = value
        elif key in _SSL_NAMES:
            if "ssl_mode" not in given:
                query.settings["ssl_mode"] = _ssl_mode(name, value)
        elif (key, value) == _UNCHECKED or (key.startswith("ssl") and "ssl_mode" in given):
            continue
        elif _REFUSED.fullmatch(key) or (key == "options" and _ROUTING.search(value)):
            raise _refused(name)
        elif key == "pgbouncer":
            query.pooler = value.lower() not in ("", "0", "false")
        else:
            query.unused.append(name)
    return query


def _ssl_mode(name: str, value: str) -> str:
    mode = _SSL_WORDS.get(value.lower(), value.lower())
    if mode not in SSL_MODES:
        raise _invalid(
            f"its parameter {name} is none of {', '.join(SSL_MODES)}.", "Correct it, or give ssl_mode beside the URL."
        )
    return mode


def _invalid(happened: str, remedy: str) -> PreconditionError:
    return PreconditionError(ATTEMPTED, happened, remedy, code="database_url_invalid")


def _refused(name: str) -> PreconditionError:
    remedy = "Take it out of the URL that Lifeboat gets."
    if name.lower().startswith(("ssl", "tls")):
        remedy = "Say by ssl_mode and ca_cert, beside the URL, how the connection is protected; it counts instead."
    elif name.lower() == "options":
        remedy = "Give the URL that leads to the server itself, or login_host, login_user and login_db instead of one."
    return PreconditionError(
        ATTEMPTED,
        f"its parameter {name} cannot be followed, and without it the connection would be another one.",
        remedy,
        code="database_url_parameter_refused",
    )


def notes(query: Query) -> tuple[str, ...]:
    """What the user should know about what was left out."""
    said = []
    if query.unused:
        names = ", ".join(dict.fromkeys(query.unused))
        said.append(f"database_url: {names} concern the application that the URL was made for, and are not used")
    if query.pooler:
        said.append(
            "database_url: pgbouncer says that it leads to a pooler; backups need the server itself, so give its own"
            " URL (Prisma's directUrl)"
        )
    return tuple(said)
