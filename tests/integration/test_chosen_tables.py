# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chosen tables out of plain dumps that the real pg_dump wrote: after a restore they are what they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.foreign.chosen_tables import (
    Choice,
    Options,
    choose,
    extract,
    take_inventory,
)
from harness import Cluster
from nasty_tables import EVERY_TABLE, SURROUNDINGS, contents, create_database, definitions, make_nasty

ATTEMPTED = "restoring tables"
NASTY = "nasty 'db' \"x\""


@pytest.fixture
def nasty(cluster: Cluster) -> Cluster:
    make_nasty(cluster, NASTY)
    return cluster


def dump(cluster: Cluster, program: str = "pg_dump", *options: str, database: str | None = NASTY) -> Path:
    """A dump, made as people do."""
    path = cluster.root / "dump.sql"
    which = ("--dbname", f"dbname={quoted(database)}") if database is not None else ()
    cluster.run(program, *options, *which, "--file", path)
    return path


def quoted(database: str) -> str:
    return "'" + database.replace("\\", "\\\\").replace("'", "\\'") + "'"


def opener(path: Path, size: int) -> Callable[[], Iterator[bytes]]:
    """Reads a file in pieces of `size`."""

    def pieces() -> Iterator[bytes]:
        with path.open("rb") as file:
            yield from iter(lambda: file.read(size), b"")

    return pieces


def take(path: Path, names: list[str], options: Options, database: str | None = None, size: int = 1 << 18) -> Choice:
    """Write the chosen tables beside the dump, to `chosen.sql`."""
    dump = opener(path, size)
    choice = choose(take_inventory(dump, ATTEMPTED), names, ATTEMPTED, database)
    with path.with_name("chosen.sql").open("wb") as file:
        file.writelines(extract(dump, choice, options, ATTEMPTED))
    return choice


def load(cluster: Cluster, database: str) -> None:
    options = ("--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--single-transaction", "--dbname", database)
    cluster.run("psql", *options, "--file", cluster.root / "chosen.sql")


@pytest.mark.every_version
def test_all_tables_come_back_as_they_were(nasty: Cluster) -> None:
    for number, options in enumerate(
        ([], ["--inserts"], ["--create", "--clean", "--if-exists", "--rows-per-insert=7"])
    ):
        path, target = dump(nasty, "pg_dump", *options), f"target{number}"
        create_database(nasty, target, SURROUNDINGS)
        take(path, EVERY_TABLE, Options(), size=(1 << 18, 1000, 4097)[number])
        load(nasty, target)
        assert contents(nasty, target) == contents(nasty, NASTY)
        assert definitions(nasty, target) == definitions(nasty, NASTY)


def test_one_table_comes_alone_with_what_belongs_to_it(nasty: Cluster) -> None:
    create_database(nasty, "target", SURROUNDINGS)
    choice = take(dump(nasty), ["orders"], Options(owner=False, privileges=False))
    assert [str(name) for name in choice.tables] == ["sales.orders"]
    assert [str(name) for name in choice.others] == ["sales.customers"]
    load(nasty, "target")
    assert contents(nasty, "target") == {"sales.orders": contents(nasty, NASTY)["sales.orders"]}
    assert "Reader" not in str(definitions(nasty, "target"))
    assert "sales|orders_id_seq|1|3000" in definitions(nasty, "target")["sequences"]


def test_schema_and_data_by_themselves_make_the_whole(nasty: Cluster) -> None:
    create_database(nasty, "target", SURROUNDINGS)
    path = dump(nasty)
    take(path, EVERY_TABLE, Options(data=False))
    load(nasty, "target")
    assert {rows for rows, _rest in contents(nasty, "target").values()} == {0}
    for table in ('public."Orders"', "measures"):
        take(path, [table], Options(schema=False))
        load(nasty, "target")
    now, before = contents(nasty, "target"), contents(nasty, NASTY)
    for table in ("public.Orders", "public.measures_2025", "public.measures_2026"):
        assert now[table] == before[table]
    assert now["sales.orders"][0] == 0


def test_a_dump_of_all_databases_has_tables_of_one(nasty: Cluster) -> None:
    create_database(nasty, "target", SURROUNDINGS)
    path = dump(nasty, "pg_dumpall", database=None)
    with pytest.raises(LifeboatError) as caught:
        take(path, ["orders"], Options())
    assert caught.value.code == "table_ambiguous"  # the harness' own database has one, too
    assert NASTY in str(caught.value) and "app: public.orders" in str(caught.value)
    take(path, ["orders"], Options(foreign_keys_to_others=False), database=NASTY)
    load(nasty, "target")
    assert contents(nasty, "target") == {"sales.orders": contents(nasty, NASTY)["sales.orders"]}


def test_a_dump_that_breaks_off_is_refused_wherever_that_is(nasty: Cluster) -> None:
    path = dump(nasty)
    whole = path.read_bytes()
    closing = whole.rindex(b"-- PostgreSQL database dump complete")
    rows = whole.index(b"COPY sales.orders") + 5000
    for size in (closing, whole.rindex(b"ALTER TABLE") + 20, rows, whole.index(b"CREATE FUNCTION") + 100):
        path.write_bytes(whole[:size])
        with pytest.raises(LifeboatError) as caught:
            take(path, ["orders"], Options())
        assert caught.value.code == "dump_truncated"
