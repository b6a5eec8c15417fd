# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A database whose dump has whatever a careless parser stumbles over."""

from __future__ import annotations

from harness import Cluster
from psycopg import sql

# What tables need and `pg_dump --table` does not bring along.
SURROUNDINGS = r"""
CREATE SCHEMA "Odd; Schema";
CREATE SCHEMA sales;
CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $fn$
BEGIN
    -- COPY sales.orders (id) FROM stdin;
    NEW.note := coalesce(NEW.note, $q$it's; "set"$q$); RETURN NEW;
END $fn$;
"""

TABLES = r"""
CREATE TABLE sales.customers (id serial PRIMARY KEY, "Name" text UNIQUE);
INSERT INTO sales.customers ("Name") SELECT 'customer ' || n FROM generate_series(1, 50) AS n;
CREATE TABLE sales.orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer integer REFERENCES sales.customers,
    note text DEFAULT 'a; "b" ''c'' \ $$ -- /* ' CHECK (note <> E';\\''; DROP TABLE "x";'),
    placed timestamptz DEFAULT '2026-01-01'
);
INSERT INTO sales.orders (customer, note) SELECT n % 50 + 1, repeat(E'line\\.\n\\.\n\ttab\\ ', n % 7) || n
    FROM generate_series(1, 3000) AS n;
CREATE INDEX "odd index;" ON sales.orders (lower(note)) WHERE note <> ';';
CREATE TRIGGER touch BEFORE INSERT OR UPDATE OF note ON sales.orders
    FOR EACH ROW WHEN (NEW.note IS DISTINCT FROM ' on sales.customers ;') EXECUTE FUNCTION public.touch();
COMMENT ON TABLE sales.orders IS E'first line\n\\.\nCOPY sales.customers (id) FROM stdin;\n\\connect postgres\n''; --';
COMMENT ON COLUMN sales.orders.note IS 'it''s';
CREATE STATISTICS sales.about_orders (dependencies) ON customer, placed FROM sales.orders;
ALTER TABLE sales.orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY "all of them" ON sales.orders USING (note <> 'on; x');
CREATE RULE ignored AS ON DELETE TO sales.orders WHERE OLD.id < 0 DO INSTEAD (SELECT 1; SELECT 2);
CREATE ROLE "Reader; x";
GRANT SELECT (id, note), UPDATE (note) ON sales.orders TO "Reader; x";
GRANT SELECT ON sales.customers TO PUBLIC;

CREATE TABLE "Odd; Schema"."Größe ""in"" 'cm'; $$ \." ("Spalte; ä" text, "select" bytea, "tab	here" integer[]);
INSERT INTO "Odd; Schema"."Größe ""in"" 'cm'; $$ \."
    SELECT E'\\.\r\nü\t' || n, decode(md5(n::text), 'hex'), ARRAY[n, NULL] FROM generate_series(1, 200) AS n;
INSERT INTO "Odd; Schema"."Größe ""in"" 'cm'; $$ \." VALUES (NULL), (''), ('\N'), ('\.'), (repeat('x', 600000));
COMMENT ON TABLE "Odd; Schema"."Größe ""in"" 'cm'; $$ \." IS 'größer';

CREATE SEQUENCE public.tickets START 1000;
CREATE TABLE public."Orders" (number bigint DEFAULT nextval('public.tickets') PRIMARY KEY, word text);
INSERT INTO public."Orders" (word) SELECT 'w' || n FROM generate_series(1, 30) AS n;
CREATE TABLE public.empty ();

CREATE TABLE public.measures (at date NOT NULL, value integer, PRIMARY KEY (at)) PARTITION BY RANGE (at);
CREATE TABLE public.measures_2025 PARTITION OF public.measures FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE public.measures_2026 PARTITION OF public.measures FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE INDEX measures_value ON public.measures (value);
INSERT INTO public.measures SELECT date '2025-06-01' + n, n FROM generate_series(1, 300) AS n;

CREATE VIEW public.seen AS SELECT ';' || id AS x FROM sales.orders;
CREATE MATERIALIZED VIEW public.sums AS SELECT count(*) FROM sales.orders;
SELECT lo_from_bytea(0, 'large; object');
"""

# From version 14 on, bodies of functions may be SQL, with semicolons of their own.
ATOMIC = r"""
CREATE FUNCTION public.atomic(x integer) RETURNS integer LANGUAGE sql BEGIN ATOMIC
    SELECT CASE WHEN x > 0 THEN 1 ELSE 2 END;
    SELECT x + 1;
END;
"""

EVERY_TABLE = [
    "sales.customers",
    "sales.orders",
    '"Odd; Schema"."Größe ""in"" \'cm\'; $$ \\."',
    '"Orders"',
    "public.empty",
    "measures",
]


def make_nasty(cluster: Cluster, database: str) -> None:
    """Create the database and what is in it."""
    create_database(cluster, database)
    cluster.sql(SURROUNDINGS + TABLES, db=database)
    if cluster.postgres.major >= 14:
        cluster.sql(ATOMIC, db=database)


def create_database(cluster: Cluster, database: str, script: str = "") -> None:
    """Create a database and run a script in it."""
    with cluster.connect("postgres") as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
    if script:
        cluster.sql(script, db=database)


def contents(cluster: Cluster, database: str) -> dict[str, tuple[int, str]]:
    """Number and hash of the rows of every table, partitions by themselves."""
    found = {}
    with cluster.connect(database) as connection:
        tables = connection.execute(
            "SELECT n.nspname, c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace"
            " WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
        ).fetchall()
        for schema, table in tables:
            query = sql.SQL("SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {} AS t")
            row = connection.execute(query.format(sql.Identifier(schema, table))).fetchone()
            assert row
            found[f"{schema}.{table}"] = (row[0], row[1])
    return found


def definitions(cluster: Cluster, database: str) -> dict[str, list[str]]:
    """What there is beside rows: columns, constraints, indexes, triggers, policies, statistics, comments, sequences."""
    queries = {
        "columns": "SELECT concat_ws('|', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull,"
        " attidentity, pg_get_expr(adbin, adrelid), attacl) FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
        " LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
        " WHERE attnum > 0 AND relkind IN ('r', 'p') AND {here}",
        "constraints": "SELECT concat_ws('|', conrelid::regclass, conname, pg_get_constraintdef(pg_constraint.oid))"
        " FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid WHERE {here}",
        "indexes": "SELECT pg_get_indexdef(pg_class.oid) FROM pg_class WHERE relkind IN ('i', 'I') AND {here}",
        "triggers": "SELECT pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger WHERE NOT tgisinternal",
        "policies": "SELECT concat_ws('|', polrelid::regclass, polname) FROM pg_policy",
        "rules": "SELECT pg_get_ruledef(pg_rewrite.oid) FROM pg_rewrite WHERE rulename = 'ignored'",
        "statistics": "SELECT pg_get_statisticsobjdef(oid) FROM pg_statistic_ext",
        "comments": "SELECT concat_ws('|', objoid::regclass, objsubid, description) FROM pg_description"
        " JOIN pg_class ON pg_class.oid = objoid WHERE classoid = 'pg_class'::regclass AND {here}",
        "sequences": "SELECT concat_ws('|', schemaname, sequencename, start_value, last_value) FROM pg_sequences",
        "grants": "SELECT concat_ws('|', pg_class.oid::regclass, relacl) FROM pg_class"
        " WHERE relkind IN ('r', 'p') AND {here}",
    }
    here = "relnamespace IN ('public'::regnamespace, 'sales'::regnamespace, '\"Odd; Schema\"'::regnamespace)"
    with cluster.connect(database) as connection:
        return {
            what: sorted(str(row[0]) for row in connection.execute(query.replace("{here}", here).encode()))
            for what, query in queries.items()
        }
