# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logical backups: databases dumped into the repository and brought back, names and owners and rows and all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import Cluster, wait_until
from psycopg import sql
from support import Site, objects, task

# Nothing in it may be taken for syntax, by a shell, by libpq or by SQL.
NAME = """Übung = 'a b'; "c\\d" $x"""
ROLE = 'Owner "of" all'
TABLES = [("public", "plain"), ("Sche ma", 'Ta"ble')]


def content(cluster: Cluster, database: str) -> list[object]:
    """Rows, owners, privileges and large objects of a database, in an order of their own."""
    found: list[object] = []
    for schema, table in TABLES:
        counted = sql.SQL("SELECT count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {} t")
        with cluster.connect(database) as connection:
            found += connection.execute(counted.format(sql.Identifier(schema, table))).fetchall()
    query = """
        SELECT n.nspname, c.relname, c.relkind, r.rolname, c.relacl::text FROM pg_class c
        JOIN pg_namespace n ON n.oid = relnamespace JOIN pg_roles r ON r.oid = c.relowner
        WHERE n.nspname IN ('public', 'Sche ma') ORDER BY 1, 2
    """
    found += cluster.sql(query, db=database)
    found += cluster.sql("SELECT md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid", db=database)
    properties = """
        pg_encoding_to_char(encoding), datcollate, datctype, pg_get_userbyid(datdba),
        (SELECT array_agg(each::text ORDER BY each::text) FROM unnest(datacl) AS each),
        shobj_description(oid, 'pg_database'), (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid)
    """
    query = f"SELECT {properties} FROM pg_database d WHERE datname = current_database()"
    return found + cluster.sql(query, db=database)


@pytest.fixture
def database(site: Site) -> Iterator[str]:
    """A database with awkward names and all kinds of things in it, of an owner who is no superuser."""
    cluster = site.cluster
    owner, name = sql.Identifier(ROLE), sql.Identifier(NAME)
    with cluster.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} CREATEDB LOGIN").format(owner))
        create = "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
        connection.execute(sql.SQL(create).format(name, owner))
        for statement in (
            "ALTER DATABASE {} SET search_path TO \"$user\", 'Sche ma', public",
            "ALTER DATABASE {} SET my.setting TO 'it''s %s'",
            "COMMENT ON DATABASE {} IS 'of \"all\"'",
            "REVOKE CONNECT ON DATABASE {} FROM PUBLIC",
            "GRANT CONNECT ON DATABASE {} TO pg_monitor WITH GRANT OPTION",
        ):
            connection.execute(sql.SQL(statement).format(name))
    with cluster.connect(NAME) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(owner))
        connection.execute(
            "CREATE TABLE public.plain AS SELECT i, repeat('é', i % 50) AS text FROM generate_series(1, 20000) i"
        )
        connection.execute('CREATE SCHEMA "Sche ma"')
        connection.execute("""CREATE TABLE "Sche ma"."Ta""ble" (id serial PRIMARY KEY, "select" text DEFAULT 'x')""")
        connection.execute("""INSERT INTO "Sche ma"."Ta""ble" ("select") VALUES (E'a\\\\b\\nc'), (NULL), ('\\.')""")
        connection.execute("""GRANT SELECT ON "Sche ma"."Ta""ble" TO pg_monitor""")
        connection.execute("SELECT lo_from_bytea(0, '\\x00ff0a')")
    yield NAME
    with cluster.connect() as connection:
        for (each,) in cluster.sql("SELECT datname FROM pg_database WHERE datname LIKE %(like)s", like="Übung%"):
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(each)))
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(owner))


@pytest.mark.oldest_too
@pytest.mark.parametrize("form", ["custom", "plain"])
def test_what_comes_back_is_what_was_there(site: Site, database: str, form: str) -> None:
    before = content(site.cluster, database)
    restored = f"Übung {form}"
    predicted, made, again, _other, back = site.play(
        task("pg_backup", kind="logical", databases=[database], dump_format=form, check=True),
        task("pg_backup", kind="logical", databases=[database], dump_format=form),
        task("pg_backup", kind="logical", databases=[database], dump_format=form, max_age=1),
        task("pg_backup", kind="logical", databases=["postgres"], globals=False),
        task("pg_restore", kind="logical", database=database, target_database=restored),
    )
    assert (predicted["changed"], predicted["backup"], predicted["databases"]) == (True, {}, [database])
    assert (made["changed"], again["changed"], again["backup"]) == (True, False, made["backup"])
    assert [(each["kind"], each["name"]) for each in made["backup"]["members"]] == [
        ("globals", ""),
        ("database", database),
    ]
    assert back["backup"]["id"] == made["backup"]["id"]  # not the newer one, which has another database
    assert content(site.cluster, restored) == before
    info = json.loads(site.lifeboat("info", "--json").stdout)
    assert made["backup"] in info["logical_backups"]
    assert made["backup"]["id"] not in {each["id"] for each in info["backups"]}


def test_one_takes_the_place_of_what_is_there(site: Site, database: str) -> None:
    cluster, before = site.cluster, content(site.cluster, database)
    site.module("pg_backup", kind="logical", databases=[database])
    cluster.sql('DELETE FROM public.plain WHERE i > 10; DROP SCHEMA "Sche ma" CASCADE', db=database)
    refused = site.refused("database_exists", "pg_restore", kind="logical", database=database)
    assert "if_exists" in refused["remedy"]
    beside = f"{database}_restoring"
    with cluster.connect() as connection:  # it may be somebody's: nothing that we have not made is dropped unasked
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(beside)))
        site.refused("database_in_the_way", "pg_restore", kind="logical", database=database, if_exists="replace")
        connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(beside)))
    with cluster.connect(database) as connection:  # somebody who is still working there
        connection.execute("SELECT 1")
        replaced = site.module("pg_restore", kind="logical", database=database, if_exists="replace")
    assert content(cluster, database) == before
    assert cluster.sql("SELECT count(*) FROM public.plain", db=replaced["kept_old"]) == [(10,)]
    assert replaced["kept_old"].startswith("Übung")
    dropped = json.loads(
        site.lifeboat("restore-dump", "--database", database, "--if-exists", "drop", "--jobs", "2", "--json").stdout
    )
    assert (dropped["kept_old"], content(cluster, database)) == ("", before)


def test_a_server_that_lacks_the_roles(site: Site, database: str, clone: Callable[[str], Cluster]) -> None:
    other = clone("other")
    elsewhere = {
        "login_unix_socket": other.socket_dir,
        "login_port": other.port,
        "kind": "logical",
        "database": database,
    }
    before = content(site.cluster, database)
    site.module("pg_backup", kind="logical", databases=[database])
    site.refused("role_missing", "pg_restore", **elsewhere)
    assert other.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'Übung%%'") == [(0,)]
    ours = site.module("pg_restore", **elsewhere, target_database="ours", no_owner=True, no_privileges=True)
    assert ours["created_roles"] == []
    made = site.module("pg_restore", **elsewhere, missing_roles="create")
    assert made["created_roles"] == [ROLE]
    assert content(other, database) == before
    assert other.sql("SELECT rolcreatedb, rolcanlogin FROM pg_roles WHERE rolname = %(role)s", role=ROLE) == [
        (True, True)
    ]


def test_chosen_tables_and_what_matches_nothing(site: Site, database: str) -> None:
    before = list(objects(site.repository))
    chosen = '"Sche ma"."Ta""ble"'
    site.refused("nothing_selected", "pg_backup", kind="logical", databases=[database], tables=["public.plane"])
    site.refused("database_missing", "pg_backup", kind="logical", databases=["postgers"])
    assert [name for name in objects(site.repository) if name not in before and "/wal/" not in name] == []
    made = site.module("pg_backup", kind="logical", databases=[database], tables=[chosen], globals=False)
    assert made["backup"]["members"][0]["options"] == {"tables": [chosen]}


def test_a_dump_that_breaks_off_leaves_nothing(site: Site, database: str) -> None:
    site.cluster.sql(
        "CREATE TABLE big AS SELECT repeat(md5(i::text), 100) FROM generate_series(1, 3000) i", db=database
    )
    before, ids = set(objects(site.repository)), site.lifeboat("info", "--json").stdout
    with ThreadPoolExecutor(1) as beside:
        slow = ["dump", "--database", database, "--max-rate", "0.5"]
        dump = beside.submit(site.command_refused, "server_connection_lost", *slow)
        copying = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'COPY %%' AND datname = %(name)s"
        wait_until(lambda: site.cluster.sql(copying, name=database), "rows were being dumped")
        site.cluster.sql(copying.replace("pid", "pg_terminate_backend(pid)"), name=database)
        said = dump.result()
    assert "server's log" in said or "its log" in said
    left = {name for name in set(objects(site.repository)) - before if "/wal/" not in name}
    assert (left, site.lifeboat("info", "--json").stdout) == (set(), ids)


def test_every_byte_of_a_dump_is_proven(site: Site, database: str) -> None:
    made = site.module("pg_backup", kind="logical", databases=[database])["backup"]["id"]
    good = site.module("backup_verify", level="content", backup=made)
    assert ([each["ok"] for each in good["checks"]], good["backup_id"]) == ([True, True], made)
    packs = list(site.repository.glob(f"stanzas/*/generations/{made}/packs/*"))
    for pack in packs:
        whole = pack.read_bytes()
        pack.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    bad = site.play(task("backup_verify", level="content", backup=made), fails=True)[0]
    assert (bad["failed"], bad["checks"][0]["ok"]) == (True, False)
    site.refused("object_damaged", "pg_restore", kind="logical", backup=made, target_database="Übung bad")
    assert site.cluster.sql("SELECT count(*) FROM pg_database WHERE datname = 'Übung bad'") == [(0,)]
    for pack in packs:  # for who looks at all of them
        whole = pack.read_bytes()
        pack.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))


def test_one_kind_is_not_taken_for_the_other(site: Site, database: str, clone: Callable[[str], Cluster]) -> None:
    made = site.module("pg_backup", kind="logical", databases=[database])["backup"]["id"]
    (physical, *_rest) = site.backup_ids()
    site.refused("backup_of_other_kind", "pg_restore", backup=made, destination="/nowhere")
    site.refused("setting_invalid", "pg_restore", kind="logical", target_time="1 hour ago")
    site.refused("setting_invalid", "pg_restore", database=database, destination="/nowhere")
    site.refused("setting_invalid", "pg_backup", databases=[database])
    site.refused("setting_invalid", "pg_backup", kind="logical", type="incremental")
    site.refused("backup_of_other_kind", "pg_restore", kind="logical", backup=physical, target_database="x")
    (plan,) = site.play(task("pg_backup_expire", keep_last=["1"], check=True))
    kept = {each["id"] for each in plan["kept"]}
    assert {made, site.backup_ids()[-1]} <= kept
