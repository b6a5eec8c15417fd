# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""URLs of databases, as applications have them in DATABASE_URL.

libpq itself takes `postgresql+psycopg2://` for a database's name, and refuses an ORM's `?schema=`; so a URL is taken
apart here, and only its parts are used. No message repeats any of a URL but its scheme and the names of its
parameters: in one that is written wrongly a piece of the password may be anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Union
from urllib.parse import unquote

from . import database_url_parameters as parameters
from .database_url_parameters import ATTEMPTED, decoded
from .errors import PreconditionError

# Beside PostgreSQL's own names those of Django (dj-database-url), Rails and Laravel.
_POSTGRES = frozenset({"postgres", "postgresql", "postgis", "pgsql", "timescale", "timescalegis"})
_SQLITE = frozenset({"sqlite", "sqlite3", "file", "spatialite"})
_WRAPPERS = ("jdbc:", "r2dbc:")
_SCHEME = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9.-]*)(?:[+_](?P<driver>[A-Za-z0-9_.-]+))?:(?P<rest>.*)", re.DOTALL)
_HOST = re.compile(r"(?:\[(?P<address>[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)\]|(?P<name>[^\[\]:]*))(?::(?P<port>[^:]*))?")
_ENCODE = "In a user's name and a password, write / as %2F, ? as %3F, : as %3A, @ as %40 and % as %25."


@dataclass(frozen=True)
class PostgresUrl:
    """The parts of a PostgreSQL URL, under the names of the options that say the same; `notes` are for the user."""

    settings: Mapping[str, str] = field(repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class SqliteUrl:
    """A SQLite database's file; a relative path is relative to what its application says."""

    path: str
    notes: tuple[str, ...] = ()


DatabaseUrl = Union[PostgresUrl, SqliteUrl]


def parse(text: str, given: frozenset[str] = frozenset()) -> DatabaseUrl:
    """Take a URL apart; `given` are the options beside it, whose parts of the URL do not matter."""
    text = text.strip()
    if any(ord(each) < 32 for each in text):
        raise _invalid("it has a control character, such as the end of a line.", "Write it in one line.")
    unwrapped = next((text[len(each) :] for each in _WRAPPERS if text.lower().startswith(each)), text)
    match = _SCHEME.fullmatch(unwrapped)
    if match is None:
        raise _invalid("it is not a URL.", "Write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE, without quotes.")
    scheme, rest = match["name"].lower(), match["rest"]
    if scheme in _SQLITE:
        return _sqlite(scheme, rest)
    if scheme not in _POSTGRES or match["driver"] == "ssh":
        raise _unknown_scheme(unwrapped)
    if not rest.startswith("//"):
        raise _invalid("behind its scheme two slashes are missing.", "Write it as postgresql://HOST/DATABASE.")
    return _postgres(rest[2:], given)


def secrets(text: str) -> tuple[str, ...]:
    """Everything in a URL that must not be seen: its password as it is and as it is written, and the URL itself.

    A URL that cannot be read has secrets too, so nothing is refused here.
    """
    found = [text, text.strip()]
    rest = text.partition("://")[2]
    user_part, at, _hosts = rest.rpartition("@")
    if at:
        # In a URL that is written wrongly the authority may end earlier, or later, than its writer thought.
        authority = re.split("[/?]", rest, maxsplit=1)[0].rpartition("@")[0]
        raw = [part.partition(":")[2] for part in (user_part, authority)]
        found += [*raw, *map(unquote, raw)]
    found += parameters.secrets(rest.partition("?")[2])
    return tuple(dict.fromkeys(filter(None, found)))


def has_password(text: str) -> bool:
    """Whether there is more to hide than the URL itself."""
    return any(each not in (text, text.strip()) for each in secrets(text))


def _invalid(happened: str, remedy: str = _ENCODE) -> PreconditionError:
    return PreconditionError(ATTEMPTED, happened, remedy, code="database_url_invalid")


def _unknown_scheme(text: str) -> PreconditionError:
    # Only what stands before "://" is known to be a scheme, and no part of something secret.
    scheme = text.partition("://")[0] if "://" in text else ""
    happened = f"{scheme}:// is not the scheme of a database that Lifeboat knows." if scheme else "it is not a URL."
    return PreconditionError(
        ATTEMPTED,
        happened,
        "Give a URL that begins with postgres:// or postgresql://, a driver's suffix such as +psycopg2 included.",
        code="database_url_unknown_scheme" if scheme else "database_url_invalid",
    )


# --- PostgreSQL


def _postgres(rest: str, given: frozenset[str]) -> PostgresUrl:
    before, _mark, behind = rest.partition("?")
    authority, _slash, database = before.partition("/")
    user_part, at, hosts = authority.rpartition("@")
    settings: dict[str, str] = {}
    # What was not encoded ends the authority too early: rather refuse than take a piece of a password for a name.
    if "@" in database or "/" in database:
        raise _invalid("the name of its database has an @ or a /.", f"{_ENCODE} The same goes for the database.")
    query = parameters.parse(behind, given)
    if "@" in behind and hosts and "login_user" not in query.settings:
        raise _invalid("its question mark stands before an @, as in a password that is not encoded.")
    if at:
        user, colon, password = user_part.partition(":")
        settings.update({"login_user": decoded(user), "login_password": decoded(password) if colon else ""})
    settings["login_db"] = decoded(database)
    settings.update(query.settings)
    settings.update(_address(hosts, query, given))
    return PostgresUrl({name: value for name, value in settings.items() if value}, parameters.notes(query))


def _address(hosts: str, query: parameters.Query, given: frozenset[str]) -> dict[str, str]:
    """Where the server is. Parameters win, as with libpq: only there can the directory of a socket be written."""
    places = [_place(each) for each in hosts.split(",")]
    ports = {port for name, port in places if name or port}
    named = [each for each in ",".join(query.hosts).split(",") if each]
    if named:
        places = [_place_of_parameter(each) for each in named]
        ports = {port for _name, port in places if port} or ports
    if query.settings.get("login_port"):
        ports = set(query.settings["login_port"].split(","))
    if len(ports) > 1 and "login_port" not in given:
        raise _invalid("its hosts have different ports.", "Name hosts that have one port, or give login_port.")
    port = next(iter(ports), "")
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise _invalid("its port is no number from 1 to 65535.")
    names = [name for name, _port in places if name]
    if not any(name.startswith(("/", "@")) for name in names):
        return {"login_host": ",".join(names), "login_port": port}
    if len(names) > 1:
        raise _invalid("it names several places, and one of them is a socket.", "Name one of them.")
    return {"login_unix_socket": names[0], "login_port": port}


def _place(text: str) -> tuple[str, str]:
    match = _HOST.fullmatch(text)
    if match is None:
        raise _invalid("its host or port is not written as HOST:PORT, or as [ADDRESS]:PORT with IPv6.")
    return decoded(match["address"] or match["name"]), match["port"] or ""


def _place_of_parameter(text: str) -> tuple[str, str]:
    """A socket's directory, an address with or without brackets, or SQLAlchemy's HOST:PORT."""
    if text.startswith(("/", "@")):
        return text, ""
    return _place(f"[{text}]" if text.count(":") > 1 and not text.startswith("[") else text)


# --- SQLite


def _sqlite(scheme: str, rest: str) -> SqliteUrl:
    before, _mark, behind = rest.partition("?")
    wanted = dict(parameters.pairs(behind))
    path = decoded(_sqlite_path(scheme, before))
    if path in ("", ":memory:") or wanted.get("mode") == "memory":
        raise _invalid("it is that of a SQLite database in memory.", "Give the URL of one in a file.")
    unused = parameters.Query(unused=[name for name in wanted if name != "mode"])
    return SqliteUrl(path, parameters.notes(unused))


def _sqlite_path(scheme: str, text: str) -> str:
    """The file's path. With sqlite: a third slash ends the (empty) host, as SQLAlchemy and Django have it."""
    if not text.startswith("//"):
        return text
    host, slash, path = text[2:].partition("/")
    if scheme == "file":
        return slash + path if host in ("", "localhost") else f"{host}{slash}{path}"
    return path if not host else f"{host}{slash}{path}"
