# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role for backups: it makes its kind of backup, fails without any one of its grants, and can do nothing else."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any

import expect
import psycopg
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.role import backup_role
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import ConnectionSpec
from fakes import Collector
from harness import DATABASE, Cluster
from harness.cluster import LOCAL_ADDRESS
from psycopg import sql
from support import Site, Task, task

ROLE, PASSWORD = 'Wächter "of" the backups', "geheim 'n' %: ü"
# Everything that needs quoting, in every place where a name can be.
ODD = 'Größe "x" o\'y'
ROLE_IN_SQL = '"Wächter ""of"" the backups"'
ODD_IN_SQL = '"Größe ""x"" o\'y"'
ODD_SCRIPT = """
CREATE SCHEMA {odd};
CREATE TABLE {odd}.{odd} (id serial, {odd} text);
INSERT INTO {odd}.{odd} ({odd}) VALUES ('ä');
ALTER TABLE {odd}.{odd} ENABLE ROW LEVEL SECURITY;
CREATE TABLE {odd}.parts (n int) PARTITION BY LIST (n);
CREATE TABLE {odd}.part PARTITION OF {odd}.parts DEFAULT;
CREATE MATERIALIZED VIEW {odd}.seen AS SELECT 1 AS n;
SELECT lo_from_bytea(4711, 'large');
"""


def request(cluster: Cluster, *kinds: str, **options: Any) -> backup_role.RoleRequest:
    spec = ConnectionSpec(port=cluster.port, socket_directory=str(cluster.socket_dir), database=DATABASE)
    asked = {"connection": spec, "data_directory": None, "name": ROLE, "kinds": kinds, **options}
    return backup_role.RoleRequest(**asked)


def have(cluster: Cluster, *kinds: str, **options: Any) -> backup_role.RoleResult:
    """Have the role: check mode predicts, the run does it, and a second one finds nothing to do."""
    asked = request(cluster, *kinds, **options)
    predicted = backup_role.run(asked, Collector(), check_mode=True)
    done = backup_role.run(asked, Collector())
    again = backup_role.run(asked, Collector())
    assert predicted == done
    assert not again.changed, again.statements
    assert again.statements == ()
    return done


def gone(cluster: Cluster) -> None:
    assert backup_role.run(request(cluster, absent=True), Collector()).changed
    assert not backup_role.run(request(cluster, absent=True), Collector()).changed
    assert cluster.sql("SELECT FROM pg_roles WHERE rolname = %(role)s", role=ROLE) == []


def as_role(cluster: Cluster, query: str, db: str = DATABASE) -> list[tuple[Any, ...]]:
    with cluster.connect(db, ROLE) as session:
        return session.execute(query.encode()).fetchall()


def forbidden(cluster: Cluster, *queries: str, db: str = DATABASE) -> None:
    with cluster.connect(db, ROLE) as session:
        for query in queries:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(query.encode())
                pytest.fail(query)


def taken_back(statement: str) -> str:
    """The opposite of a statement that made something."""
    before, _grant, rest = statement.rpartition("GRANT ")
    privilege, _to, role = rest.rpartition(" TO ")
    return f"{before}REVOKE {privilege} FROM {role}"


READING = ("SELECT * FROM orders", "SELECT lo_get(4711)")
HASHES = "SELECT rolpassword FROM pg_authid"
WRITING = (
    "INSERT INTO orders (customer) VALUES ('x')",
    "CREATE TABLE mine (n int)",
    "CREATE ROLE other",
    "CREATE DATABASE other",
    "ALTER SYSTEM SET work_mem = '1MB'",
    "COPY (SELECT 1) TO '/tmp/lifeboat-test-role'",
    "COPY pg_class TO PROGRAM 'cat'",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
)


def only_owners_make_tables(cluster: Cluster) -> None:
    """As it is from 15 on."""
    cluster.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC")


@pytest.mark.oldest_too
def test_physical_needs_all_that_it_gets_and_can_read_nothing(site: Site) -> None:
    cluster = site.cluster
    only_owners_make_tables(cluster)
    made = have(cluster, "physical", "restore_point")
    login = ("--login-user", ROLE, "--login-db", DATABASE)
    try:
        site.lifeboat("backup", *login)
        site.lifeboat("restore-point", "a point", *login)
        grants = [each for each in made.statements if each.startswith("GRANT")]
        for grant in grants:
            cluster.sql(taken_back(grant))
            command = ["restore-point", "another"] if "restore_point" in grant or "switch_wal" in grant else ["backup"]
            site.command_refused("role_lacks_privilege", *command, *login)
            assert have(cluster, "physical", "restore_point").statements == (grant,)
        assert len(grants) == 5
        site.lifeboat("backup", *login)
        forbidden(cluster, *READING[:1], HASHES, *WRITING, "SELECT pg_promote()")
        dropped = have(cluster, "restore_point").statements
        assert ["_backup" in each for each in dropped] == [True, True]
        site.command_refused("role_lacks_privilege", "backup", *login)
    finally:
        gone(cluster)


@pytest.mark.oldest_too
def test_stream_needs_replication_and_nothing_else(site: Site) -> None:
    cluster = site.cluster
    only_owners_make_tables(cluster)
    made = have(cluster, "stream", password=PASSWORD)
    tcp = ("--method", "stream", "--login-host", LOCAL_ADDRESS, "--login-port", str(cluster.port))
    login = (*tcp, "--login-user", ROLE, "--login-db", DATABASE)
    try:
        assert not any(each.startswith("GRANT") for each in made.statements)
        site.lifeboat("backup", *login, env={"PGPASSWORD": PASSWORD})
        forbidden(cluster, *READING[:1], HASHES, *WRITING)
        have(cluster, "physical")
        refused = site.lifeboat("backup", *login, env={"PGPASSWORD": PASSWORD}, check=False)
        assert "error [role_lacks_privilege]" in refused.stderr
    finally:
        gone(cluster)


@pytest.mark.oldest_too
def test_logical_makes_dumps(site: Site) -> None:
    """With roles and tablespaces, of all databases and of one; the others are then closed."""
    cluster, login = site.cluster, ("--login-user", ROLE, "--login-db", DATABASE)
    only_owners_make_tables(cluster)
    cluster.sql("CREATE DATABASE closed")
    cluster.sql("CREATE TABLE inside AS SELECT 1 AS n", db="closed")
    cluster.sql(f"REVOKE ALL ON DATABASE {DATABASE}, closed FROM PUBLIC")
    try:
        have(cluster, "logical")
        site.lifeboat("dump", *login)
        have(cluster, "logical", databases=["closed"])
        site.lifeboat("dump", "--database", "closed", *login)
        site.command_refused("role_lacks_privilege", "dump", "--database", DATABASE, *login)
        have(cluster, "restore_point")
        site.command_refused("role_or_database_missing", "dump", "--database", "closed", *login)
    finally:
        cluster.sql(f"GRANT CONNECT, TEMPORARY ON DATABASE {DATABASE} TO PUBLIC")
        gone(cluster)
        cluster.sql("DROP DATABASE closed")


def dump(cluster: Cluster, db: str) -> subprocess.CompletedProcess[str]:
    return cluster.postgres.run(
        "pg_dump",
        "--file",
        "/dev/null",
        "--dbname",
        db,
        env={**cluster.client_environment, "PGUSER": ROLE},
        check=False,
    )


def one_of_each_sort(statements: Sequence[str]) -> list[str]:
    """Of what was granted for the odd database, or everywhere: one schema, one table, one sequence and so on."""
    granted = [each for each in statements if each.startswith("GRANT")]
    ours = [each for each in granted if ODD_IN_SQL in each or "pg_" in each or "LARGE OBJECT" in each]
    return list({tuple(each.split()[:4]): each for each in ours}.values())


@pytest.fixture
def odd(cluster: Cluster) -> Cluster:
    """A cluster with one more database, which lets nobody in, and names that must be quoted."""
    name = sql.Identifier(ODD)
    with cluster.connect() as session:
        session.execute(sql.SQL("CREATE DATABASE {}").format(name))
        session.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
        session.execute(sql.SQL("CREATE ROLE {}").format(name))
    with cluster.connect(ODD) as session:
        session.execute(sql.SQL(ODD_SCRIPT).format(odd=name))
        session.execute(sql.SQL("ALTER TABLE {0}.{0} OWNER TO {0}").format(name))
        session.execute(sql.SQL("GRANT ALL ON SCHEMA {0} TO {0}").format(name))
    only_owners_make_tables(cluster)
    return cluster


def make_more(cluster: Cluster) -> None:
    """An owner goes on."""
    with cluster.connect(ODD) as session:
        session.execute(sql.SQL("SET ROLE {0}; CREATE TABLE {0}.later (n serial)").format(sql.Identifier(ODD)))


@pytest.mark.oldest_too
@pytest.mark.parametrize("databases", [None, [ODD]], ids=["all databases", "one database"])
def test_logical_needs_all_that_it_gets_and_writes_nothing(odd: Cluster, databases: list[str] | None) -> None:
    made = have(odd, "logical", databases=databases)
    assert dump(odd, ODD).returncode == 0, dump(odd, ODD).stderr
    assert (dump(odd, DATABASE).returncode == 0) is (databases is None)
    for grant in one_of_each_sort(made.statements):
        odd.sql(taken_back(grant), db=ODD)
        assert dump(odd, ODD).returncode != 0, grant
        assert grant in have(odd, "logical", databases=databases).statements
    odd.sql(f"ALTER ROLE {ROLE_IN_SQL} NOBYPASSRLS")
    assert "row-level security" in dump(odd, ODD).stderr
    assert have(odd, "logical", databases=databases).statements == (f"ALTER ROLE {ROLE_IN_SQL} BYPASSRLS",)
    make_more(odd)
    assert dump(odd, ODD).returncode == 0, dump(odd, ODD).stderr
    assert as_role(odd, f"SELECT count(*) FROM {ODD_IN_SQL}.{ODD_IN_SQL}", db=ODD) == [(1,)]
    assert as_role(odd, READING[1], db=ODD) == [(b"large",)]
    forbidden(odd, f"INSERT INTO {ODD_IN_SQL}.part VALUES (1)", f"CREATE TABLE {ODD_IN_SQL}.mine ()", db=ODD)
    forbidden(odd, f"DELETE FROM {ODD_IN_SQL}.{ODD_IN_SQL}", f"TRUNCATE {ODD_IN_SQL}.part", db=ODD)
    if databases is not None or odd.postgres.major < 14:  # pg_read_all_data spares nothing
        forbidden(odd, HASHES)
    forbidden(odd, *WRITING, "SELECT pg_switch_wal()", "SELECT pg_promote()")
    have(odd, "physical")
    assert dump(odd, ODD).returncode != 0
    gone(odd)


@pytest.mark.every_version
def test_large_objects_that_are_made_later(cluster: Cluster) -> None:
    """From 18 on they are covered by default privileges; before, another run finds them."""
    have(cluster, "logical")
    cluster.sql("SELECT lo_from_bytea(4711, 'large')")
    if cluster.postgres.major >= 18:
        assert as_role(cluster, READING[1]) == [(b"large",)]
    else:
        forbidden(cluster, READING[1])
        assert have(cluster, "logical").statements == (f"GRANT SELECT ON LARGE OBJECT 4711 TO {ROLE_IN_SQL}",)
    assert dump(cluster, DATABASE).returncode == 0


def test_password_limit_and_validity(cluster: Cluster) -> None:
    def signs_in(password: str) -> bool:
        try:
            cluster.connect(user=ROLE, host=LOCAL_ADDRESS, password=password).close()
        except psycopg.OperationalError:
            return False
        return True

    cluster.set(log_statement="all")
    have(cluster, "physical", password=PASSWORD, connection_limit=3, valid_until="2999-01-01 00:00+00")
    assert signs_in(PASSWORD)
    assert not have(cluster, "physical").changed
    changed = have(cluster, "physical", password=f"{PASSWORD}ﬁ")
    assert changed.changed and changed.statements == ()
    assert (changed.before != changed.after) and PASSWORD not in str(changed)
    assert signs_in(f"{PASSWORD}ﬁ") and not signs_in(PASSWORD)
    cluster.sql("ALTER SYSTEM SET password_encryption = 'md5'")
    cluster.reload()
    have(cluster, "physical", password="one more", valid_until="infinity", connection_limit=-1)
    assert "md5" in cluster.sql("SELECT rolpassword FROM pg_authid WHERE rolname = %(r)s", r=ROLE)[0][0]
    logged = cluster.log_file.read_text()
    assert ROLE_IN_SQL in logged and "geheim" not in logged and "one more" not in logged
    cluster.sql(f"CREATE TABLE kept (); ALTER TABLE kept OWNER TO {ROLE_IN_SQL}")
    with expect.failure("backup_role_owns_objects"):
        backup_role.run(request(cluster, absent=True), Collector())
    cluster.sql(f"ALTER TABLE kept OWNER TO postgres; ALTER ROLE {ROLE_IN_SQL} CREATEDB CREATEROLE NOLOGIN")
    cluster.sql(f"GRANT pg_monitor TO {ROLE_IN_SQL}")
    more = f"ALTER ROLE {ROLE_IN_SQL} NOCREATEDB NOCREATEROLE LOGIN"
    assert have(cluster, "physical").statements == (more, f"REVOKE pg_monitor FROM {ROLE_IN_SQL}")
    gone(cluster)


def test_what_is_refused(cluster: Cluster) -> None:
    def refused(code: str, **options: Any) -> None:
        asked = request(cluster, **{"kinds": ["logical"], **options})
        with expect.failure(code):
            backup_role.run(asked, Collector())

    cluster.sql(f"CREATE ROLE {ROLE_IN_SQL} SUPERUSER LOGIN; CREATE ROLE weak LOGIN CREATEROLE")
    refused("backup_role_is_superuser")
    refused("backup_role_is_superuser", absent=True)
    cluster.sql(f"DROP ROLE {ROLE_IN_SQL}")
    refused("role_or_database_missing", databases=["atlantis"])
    weak = ConnectionSpec(port=cluster.port, socket_directory=str(cluster.socket_dir), user="weak", database=DATABASE)
    refused("superuser_needed", connection=weak)
    for name in ("", "pg_keeper", "ü" * 32, "a\0b"):
        refused("role_name_invalid", name=name)
    assert cluster.sql("SELECT FROM pg_roles WHERE rolname = %(role)s", role=ROLE) == []


def role_task(*, check: bool = False, **options: Any) -> Task:
    """A task with the module; its option `name` is the task's own in `task`."""
    made = task("pg_backup_role", check=check, **options)
    (module,) = (key for key in made if key.endswith(".pg_backup_role"))
    return {**made, module: {**made[module], "name": ROLE}}


def test_the_module(site: Site) -> None:
    """Checked, made, made again, changed and dropped by plays, by a superuser's URL, with a diff of each."""
    url = f"postgresql+asyncpg:///{DATABASE}?host={site.cluster.socket_dir}&port={site.cluster.port}"
    asked = {"database_url": url, "password": PASSWORD, "kinds": ["physical"]}
    results = site.play(
        role_task(check=True, **asked),
        role_task(**asked),
        role_task(**asked),
        role_task(**{**asked, "kinds": ["stream"]}),
        role_task(check=True, **asked, state="absent"),
        role_task(**asked, state="absent"),
        role_task(**asked, state="absent"),
    )
    assert [each["changed"] for each in results] == [True, True, False, True, True, True, False]
    assert results[0]["statements"] == results[1]["statements"]
    assert "GRANT pg_read_all_settings" in results[1]["diff"]["after"]
    assert "REPLICATION" in results[3]["diff"]["after"] and "REPLICATION" not in results[3]["diff"]["before"]
    assert PASSWORD not in str(results)
