# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a server is reached: the settings of lifeboat.conf, and a database_url instead of them.

What is given beside a URL wins over its parts. A URL that wins over a file takes the place of all the file says
about the connection, because what is left out in a URL has a meaning too.
"""

from __future__ import annotations

from collections.abc import Mapping

from .errors import PreconditionError, UnsupportedError
from .specs import ConnectionSpec

# Where the on-host command looks for a URL. Not DATABASE_URL, which may be there for another program.
URL_VARIABLE = "LIFEBOAT_DATABASE_URL"
CONNECTION_KEYS = (
    "database_url",
    "login_host",
    "login_port",
    "login_user",
    "login_unix_socket",
    "login_db",
    "ssl_mode",
    "ca_cert",
)


def from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What the on-host command is told by its environment; a variable that is empty says nothing."""
    return {"database_url": environment[URL_VARIABLE]} if environment.get(URL_VARIABLE) else {}


def parse(name: str, values: Mapping[str, str], password: str | None = None) -> ConnectionSpec:
    """A cluster's connection; of a `database_url` what is not given beside it."""
    notes: tuple[str, ...] = ()
    if "database_url" in values:
        values, notes = _with_url(values)
    return ConnectionSpec(
        host=values.get("login_host"),
        port=_port(name, values.get("login_port")),
        user=values.get("login_user") or "postgres",
        password=password or values.get("login_password"),
        socket_directory=values.get("login_unix_socket"),
        database=values.get("login_db") or "postgres",
        ssl_mode=values.get("ssl_mode") or "prefer",
        ca_cert=values.get("ca_cert"),
        notes=notes,
    )


def has_secret(values: Mapping[str, str]) -> bool:
    """Whether a cluster's settings hold what others may not know."""
    if "database_url" not in values:
        return False
    from . import database_url  # the server's WAL command need not load it

    return database_url.has_password(values["database_url"])


def _with_url(values: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Settings with the parts of their URL below them; its password is for its own user only."""
    from . import database_url

    given = {key: values[key] for key in CONNECTION_KEYS[1:] if values.get(key)}
    url = database_url.parse(values["database_url"], frozenset(given))
    if isinstance(url, database_url.SqliteUrl):
        raise UnsupportedError(
            "reading database_url",
            "it is the URL of a SQLite database.",
            "Give the URL of a PostgreSQL server here.",
            code="database_url_is_sqlite",
        )
    parts = dict(url.settings)
    if "login_host" in given:
        parts.pop("login_unix_socket", None)
    if "login_unix_socket" in given:
        parts.pop("login_host", None)
    if given.get("login_user", parts.get("login_user")) != parts.get("login_user"):
        parts.pop("login_password", None)
    return {**parts, **given}, url.notes


def _port(name: str, text: str | None) -> int | None:
    if text is None or text == "":
        return None
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise PreconditionError(
            f"describing the cluster {name}",
            f"{text!r} is no port.",
            "Give login_port as a number from 1 to 65535.",
            code="setting_invalid",
        )
    return int(text)
