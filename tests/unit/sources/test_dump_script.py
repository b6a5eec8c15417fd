# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dumps that today's servers do not write any more, and pieces of every size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.foreign.chosen_tables import (
    Options,
    choose,
    extract,
    take_inventory,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.foreign.sql_script import (
    MetaCommand,
    Script,
)

DUMP = r"""--
-- PostgreSQL database dump
--

\restrict x1

SET standard_conforming_strings = off;
SET search_path = "My Schema", pg_catalog;

CREATE TABLE orders (a text DEFAULT 'it\'s; '';' /* ; /* nested; */ */, b text -- don't; "
);
ALTER TABLE "My Schema".orders OWNER TO me;
CREATE FUNCTION f() RETURNS int AS $x$ SELECT 1; 'COPY orders FROM stdin; $$ $x$ LANGUAGE sql;
CREATE FUNCTION g() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;
COPY orders (a, b) FROM stdin;
one\	;	'
\\.	\N
\.
CREATE TABLE other (a int);
INSERT INTO other VALUES (E'a\';''', $q$;$q$);
COPY other FROM stdin;
\.
SET search_path = second;
CREATE TABLE orders (c int);
GRANT SELECT ON TABLE orders TO me;

--
-- PostgreSQL database dump complete
--

\unrestrict x1
"""


def cut(text: bytes, size: int) -> Iterator[bytes]:
    return (text[at : at + size] for at in range(0, len(text), size))


def taken(dump: str, names: list[str], options: Options, size: int = 1000, encoding: str = "utf-8") -> str:
    def opened() -> Iterable[bytes]:
        return cut(dump.encode(encoding), size)

    choice = choose(take_inventory(opened, "taking"), names, "taking")
    return b"".join(extract(opened, choice, options, "taking")).decode(encoding)


def code(dump: str, names: list[str]) -> str:
    with pytest.raises(LifeboatError) as caught:
        taken(dump, names, Options())
    return caught.value.code


@pytest.mark.parametrize("size", [1, 2, 3, 7, 255, 256, 257, 1000, 1 << 20])
def test_old_dumps_with_a_search_path_and_backslashes(size: int) -> None:
    assert taken(DUMP, ["My Schema.orders"], Options(owner=False), size).splitlines() == [
        "SET standard_conforming_strings = off;",
        'SET search_path = "My Schema", pg_catalog;',
        "CREATE TABLE orders (a text DEFAULT 'it\\'s; '';' /* ; /* nested; */ */, b text -- don't; \"",
        ");",
        "COPY orders (a, b) FROM stdin;",
        "one\\\t;\t'",
        "\\\\.\t\\N",
        "\\.",
        "SET search_path = second;",
    ]


def test_statements_and_commands_are_told_apart() -> None:
    found: list[bytes] = []
    script = Script(cut(b"\\connect \"a b\"\n; SELECT 1 ; /* ; */ INSERT\n INTO x VALUES (';');\\unrestrict k", 3), "")
    for each in script:
        found.append(each.line if isinstance(each, MetaCommand) else b"".join(each.pieces()))
    assert found == [b'\\connect "a b"', b"SELECT 1 ;", b"INSERT\n INTO x VALUES (';');", b"\\unrestrict k"]


def test_a_statement_of_any_size_passes_in_pieces() -> None:
    text = b"INSERT INTO big VALUES ('" + b"x;" * 2_000_000 + b"');"
    (statement,) = list(map(measured, Script(cut(text, 1 << 16), "")))
    assert statement == (len(text), True)


def measured(each: object) -> tuple[int, bool]:
    assert not isinstance(each, MetaCommand)
    sizes = [len(piece) for piece in each.pieces()]  # type: ignore[attr-defined]
    return sum(sizes), max(sizes) < 1 << 19


def test_names_that_mean_nothing_or_too_much() -> None:
    assert code(DUMP, ["orders"]) == "table_ambiguous"
    assert code(DUMP, ["second.others"]) == "table_not_in_dump"
    with pytest.raises(LifeboatError, match=r'Did you mean "My Schema"\.other\?'):
        taken(DUMP, ["othr"], Options())
    assert code(DUMP.replace("dump complete", "dump comple"), ["other"]) == "dump_truncated"
    assert code(DUMP.replace("--\n\n\\restrict", "--\nSET client_encoding = 'SJIS';\n\\restrict"), ["x"]) == (
        "dump_encoding_unsupported"
    )


def test_names_in_other_encodings() -> None:
    dump = "SET client_encoding = 'LATIN1';\nCREATE TABLE public.größe (x int);\nCREATE TABLE public.b (x int);\n"
    assert "größe" in taken(dump, ["größe"], Options(), encoding="latin-1")


def test_nothing_is_dropped_and_no_transaction_ended() -> None:
    dump = (
        "BEGIN;\nDROP TABLE IF EXISTS public.t;\nALTER TABLE ONLY public.t DROP CONSTRAINT t_pkey;\n"
        "CREATE TABLE public.t (x int);\nCOMMIT;\nTRUNCATE public.t;\nDELETE FROM public.t;\n"
    )
    assert taken(dump, ["t"], Options()) == "CREATE TABLE public.t (x int);\n"


def test_a_constraint_named_like_a_table_brings_no_table() -> None:
    dump = (
        "CREATE TABLE public.t (x int);\nCREATE TABLE public.u (y int);\n"
        "ALTER TABLE ONLY public.t ADD CONSTRAINT u CHECK (x > 0);\n"
    )
    assert "CREATE TABLE public.u" not in taken(dump, ["t"], Options())


def test_a_foreign_key_goes_with_its_other_table() -> None:
    key = "ALTER TABLE ONLY public.t ADD CONSTRAINT k FOREIGN KEY (x) REFERENCES public.u(y);\n"
    dump = "CREATE TABLE public.t (x int);\nCREATE TABLE public.u (y int);\n" + key
    assert key not in taken(dump, ["t"], Options())
    assert key in taken(dump, ["t"], Options(foreign_keys_to_others=True))
    assert key in taken(dump, ["t", "u"], Options())
