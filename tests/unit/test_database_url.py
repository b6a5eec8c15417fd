# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Database URLs as people have them, and that nothing of a wrong one is repeated."""

from __future__ import annotations

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import connection_settings, database_url
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import ConnectionSpec

WHOLE = {
    "login_host": "db.example.com",
    "login_port": "5433",
    "login_user": "shop",
    "login_password": "s3same",
    "login_db": "app",
}
SOCKET = {"login_unix_socket": "/run/postgresql", "login_db": "app"}


def parts(text: str, *given: str) -> dict[str, str]:
    url = database_url.parse(text, frozenset(given))
    assert isinstance(url, database_url.PostgresUrl)
    return dict(url.settings)


def notes(text: str) -> str:
    return "\n".join(database_url.parse(text).notes)


@pytest.mark.parametrize(
    "scheme",
    ["postgres", "postgresql", "PostgreSQL", "postgresql+psycopg2", "postgresql+asyncpg", "postgresql+psycopg"]
    + [
        "postgres+pg8000",
        "postgresql_psycopg2",
        "postgis",
        "pgsql",
        "timescale",
        "jdbc:postgresql",
        "r2dbc:postgresql",
    ],
)
def test_schemes_of_every_driver_mean_the_same(scheme: str) -> None:
    assert parts(f"{scheme}://shop:s3same@db.example.com:5433/app") == WHOLE


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("", {}),
        ("/app", {"login_db": "app"}),
        (":5433/", {"login_port": "5433"}),
        ("shop@/app", {"login_user": "shop", "login_db": "app"}),
        ("[2001:db8::1]:5433/app", {"login_host": "2001:db8::1", "login_port": "5433", "login_db": "app"}),
        ("[fe80::1%25eth0]", {"login_host": "fe80::1%eth0"}),
        ("a,b:/app", {"login_host": "a,b", "login_db": "app"}),
        ("a:5433,b:5433/app", {"login_host": "a,b", "login_port": "5433", "login_db": "app"}),
        ("[::1]:5433,b:5433", {"login_host": "::1,b", "login_port": "5433"}),
        ("%2Frun%2Fpostgresql/app", SOCKET),
        ("/app?host=/run/postgresql", SOCKET),
        ("localhost/app?host=/run/postgresql", SOCKET),
        ("localhost:5433/app?host=%2Frun%2Fpostgresql", {**SOCKET, "login_port": "5433"}),
        ("/app?host=db.example.com&port=5433&user=shop&password=s3same", WHOLE),
        ("?host=db.example.com:5433&user=shop&password=s3same&dbname=app", WHOLE),
        ("/?host=a:5433&host=b:5433", {"login_host": "a,b", "login_port": "5433"}),
        ("/?host=a,b&port=5433,5433", {"login_host": "a,b", "login_port": "5433"}),
        ("/?host=::1&port=5433", {"login_host": "::1", "login_port": "5433"}),
        ("a:1/?port=5433", {"login_host": "a", "login_port": "5433"}),
        ("u%40x:p%2F%3A%25%20%C3%A9@h/d%20%22b", {"login_user": "u@x", "login_password": "p/:% é", "login_host": "h"}),
        ("u:p@ss:w#rd+1@h", {"login_user": "u", "login_password": "p@ss:w#rd+1", "login_host": "h"}),
        ("u:100%zz@h", {"login_user": "u", "login_password": "100%zz", "login_host": "h"}),
    ],
)
def test_parts(rest: str, expected: dict[str, str]) -> None:
    found = parts(f"postgresql://{rest}")
    if "%22" in rest:
        assert found.pop("login_db") == 'd "b'
    assert found == expected


@pytest.mark.parametrize(
    ("query", "mode"),
    [("sslmode=verify-full", "verify-full"), ("sslmode=no-verify", "require"), ("ssl=true", "require")]
    + [
        ("ssl=false", "disable"),
        ("ssl=verify-ca", "verify-ca"),
        ("sslmode=require&sslaccept=accept_invalid_certs", "require"),
    ],
)
def test_protection_in_the_words_of_drivers(query: str, mode: str) -> None:
    assert parts(f"postgres://h/d?{query}")["ssl_mode"] == mode


def test_authorities() -> None:
    found = parts("postgres://h/d?sslmode=verify-full&sslrootcert=/etc/ca.pem")
    assert found["ca_cert"] == "/etc/ca.pem"


def test_what_concerns_an_application_is_named_and_left_out() -> None:
    prisma = "postgresql://u:p@h/d?schema=public&connection_limit=5&pool_timeout=2&pgbouncer=true"
    assert parts(prisma) == parts("postgresql://u:p@h/d")
    said = notes(prisma)
    assert "schema, connection_limit, pool_timeout" in said
    assert "pooler" in said
    assert "options, application_name" in notes("postgres://h/d?options=-c%20search_path%3Da&application_name=shop")
    assert notes("postgres://h/d?pgbouncer=false&sslmode=require") == ""


@pytest.mark.parametrize(
    "query",
    [
        "sslcert=/c",
        "sslkey=/k",
        "sslaccept=strict",
        "sslidentity=x",
        "ssl_mode=verify-full",
        "service=s",
        "hostaddr=::1",
    ]
    + [
        "channel_binding=require",
        "gssencmode=require",
        "replication=database",
        "options=endpoint%3Dep-cool-1",
        "passfile=/p",
    ],
)
def test_what_makes_another_connection_is_refused(query: str) -> None:
    with expect.failure("database_url_parameter_refused") as failure:
        database_url.parse(f"postgres://h/d?{query}")
    assert query.partition("=")[0] in failure.value.message


def test_what_options_say_about_protection_is_not_looked_for_in_the_url() -> None:
    assert parts("postgres://h/d?sslcert=/c&sslaccept=strict&sslmode=nonsense", "ssl_mode") == parts("postgres://h/d")


@pytest.mark.parametrize(
    "text",
    ["", "hunter2", "hunter2:x", "'postgres://u:hunter2@h/d'", "postgres:u:hunter2@h", "postgresql:/hunter2"]
    + [
        "postgres://u:hun/ter2@h/d",
        "postgres://u:12/hunter2@h/d",
        "postgres://u:hunter2?x@h/d",
        "postgres://u:1?hunter2=1@h/d",
    ]
    + [
        "postgres://u:1/a?hunter2@h/d",
        "postgres://u:x@h:hunter2/d",
        "postgres://h:0/d",
        "postgres://h:65536/d",
        "postgres://h:٣/d",
    ]
    + ["postgres://::1/d", "postgres://[::1/d", "postgres://h/d/hunter2", "postgres://a:1,b:2/d", "postgres://a:1,b/d"]
    + ["postgres://u:%FF@h/d", "postgres://u:%00@h/d", "postgres://u:hunter2\n@h/d", "postgres://h/d?sslmode=hunter2"]
    + ["postgres:///d?host=/a&host=b", "sqlite://", "sqlite:///:memory:", "file::memory:", "file:x?mode=memory"],
)
def test_a_url_that_is_none_is_refused_without_repeating_it(text: str) -> None:
    with expect.failure("database_url_invalid") as failure:
        database_url.parse(text)
    assert "hunter2" not in failure.value.message
    assert "hun" not in failure.value.message


@pytest.mark.parametrize(
    "scheme", ["mysql", "mysql+pymysql", "mongodb+srv", "redis", "cockroachdb", "prisma+postgres", "postgresql+ssh"]
)
def test_other_databases_are_refused_by_name(scheme: str) -> None:
    with expect.failure("database_url_unknown_scheme") as failure:
        database_url.parse(f"{scheme}://u:hunter2@h/d")
    assert f"{scheme}://" in failure.value.message
    assert "hunter2" not in failure.value.message


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sqlite:///data/app.db", "data/app.db"),
        ("sqlite:////srv/app.db", "/srv/app.db"),
        ("sqlite+aiosqlite:////srv/a%20b.db", "/srv/a b.db"),
        ("sqlite3:db/dev.sqlite3", "db/dev.sqlite3"),
        ("sqlite:/srv/app.db", "/srv/app.db"),
        ("sqlite://app.db", "app.db"),
        ("file:./dev.db", "./dev.db"),
        ("file:///srv/app.db", "/srv/app.db"),
        ("file://localhost/srv/app.db", "/srv/app.db"),
        ("jdbc:sqlite:/srv/app.db", "/srv/app.db"),
    ],
)
def test_sqlite_is_recognised(text: str, path: str) -> None:
    assert database_url.parse(text) == database_url.SqliteUrl(path)
    assert "connection_limit" in notes(f"{text}?connection_limit=1&mode=ro")
    with expect.failure("database_url_is_sqlite"):
        connection_settings.parse("main", {"database_url": text})


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("postgres://u:p%40ss@h/d", {"p%40ss", "p@ss"}),
        ("postgres://u:a@b@h/d", {"a@b"}),
        ("postgres://u:hun/ter2@h/d", {"hun/ter2"}),
        ("postgresql:///d?user=u&password=p%20w", {"p%20w", "p w"}),
        ("postgres://u@h/d", set()),
        ("postgres:///d", set()),
    ],
)
def test_secrets_are_known_in_both_spellings_also_of_a_wrong_url(text: str, hidden: set[str]) -> None:
    assert set(database_url.secrets(text)) == {text, *hidden}
    assert database_url.has_password(text) is bool(hidden)
    assert not hidden or not any(each in repr(parse_or_none(text)) for each in hidden)


def parse_or_none(text: str) -> object:
    try:
        return database_url.parse(text)
    except Exception:
        return None


# --- beside other options

URL = "postgres://shop:s3same@db:5433/app?sslmode=require"


def connection(**values: str) -> ConnectionSpec:
    return connection_settings.parse("main", {"database_url": URL, **values})


def test_a_url_alone() -> None:
    assert connection() == ConnectionSpec("db", 5433, "shop", "s3same", None, "app", "require")
    assert connection_settings.parse("main", {"database_url": "postgres://"}) == ConnectionSpec()


def test_options_win_over_its_parts() -> None:
    given = {"login_host": "other", "login_port": "1", "login_db": "x", "ssl_mode": "disable", "ca_cert": "/c"}
    assert connection(**given) == ConnectionSpec("other", 1, "shop", "s3same", None, "x", "disable", "/c")
    assert connection_settings.parse("main", {"database_url": URL}, "given").password == "given"


def test_its_password_is_for_its_user_only() -> None:
    assert connection(login_user="shop").password == "s3same"
    assert connection(login_user="postgres").password is None


def test_a_host_and_a_socket_exclude_each_other() -> None:
    assert connection(login_unix_socket="/s").host is None
    socket = connection_settings.parse("main", {"database_url": "postgres:///d?host=/s", "login_host": "h"})
    assert (socket.host, socket.socket_directory) == ("h", None)
