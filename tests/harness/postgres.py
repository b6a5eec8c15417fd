# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL of several versions: the programs, and one loaded data directory that clusters are copied from."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from functools import cached_property
from pathlib import Path

from psycopg import sql

from .cluster import DATABASE, PASSWORD, PASSWORD_ROLE, SUPERUSER, Cluster
from .machine import CHECKOUT, cannot_be_had, run, server_folder, server_user
from .run_folder import RunFolder

KNOWN_VERSIONS = (13, 15, 17, 18)
MAIN_VERSION = 17

CONFIGURATION = """
# The test harness
listen_addresses = '127.0.0.1'
password_encryption = 'scram-sha-256'
shared_buffers = 16MB
log_line_prefix = '%m [%p] '
"""

ACCESS = """
local all         all              trust
local replication all              trust
host  all         all 127.0.0.1/32 scram-sha-256
host  replication all 127.0.0.1/32 scram-sha-256
"""

# Beside pgbench's tables, every test can count on `orders`, its 5000 rows and its index.
ORDERS = """
CREATE TABLE orders (
    id bigserial PRIMARY KEY, customer text NOT NULL, amount numeric(10, 2) NOT NULL, placed timestamptz NOT NULL
);
INSERT INTO orders (customer, amount, placed)
    SELECT 'customer ' || n % 97, n % 1000 + 0.99, timestamptz '2026-01-01 00:00+00' + n * interval '1 minute'
    FROM generate_series(1, 5000) AS n;
CREATE INDEX orders_customer ON orders (customer);
"""


def versions() -> list[int]:
    """The major versions that this run tests, oldest first: those of LIFEBOAT_PG, by default all that are known."""
    asked = os.environ.get("LIFEBOAT_PG", "").split()
    return sorted({int(word) for word in asked} or KNOWN_VERSIONS)


def main_version() -> int:
    """The one that runs what every version would do alike: 17, or the newest where 17 was not asked for."""
    return MAIN_VERSION if MAIN_VERSION in versions() else versions()[-1]


class Postgres:
    """One version of PostgreSQL in a test run."""

    def __init__(self, major: int, run_folder: RunFolder) -> None:
        """Find its programs, fetching them when needed; skip the test where they cannot be had."""
        finder = [sys.executable, str(CHECKOUT / "tools/dev/postgres.py"), "ensure", str(major)]
        done = subprocess.run(finder, capture_output=True, text=True, check=False)
        if done.returncode:
            cannot_be_had(done.stderr.strip().splitlines()[-1])
        self.major = major
        self.bin_dir = Path(done.stdout.strip())
        self._folder = server_folder(run_folder.path / f"pg{major}")
        self._numbers = itertools.count(1)

    @cached_property
    def version(self) -> str:
        """The full version, such as 17.5."""
        return self.run("postgres", "--version").stdout.split()[2]

    def run(
        self, program: str, *arguments: str | Path, env: dict[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs as the server's user."""
        return run([self.bin_dir / program, *arguments], user=server_user(), env=env, check=check)

    def clone(self, name: str = "cluster") -> Cluster:
        """A new cluster with the template's contents, not started.

        `with postgres.clone() as cluster:` also starts it, and removes it in the end.
        """
        template = self._template
        cluster = self._new_cluster(name)
        run(["cp", "-a", "--reflink=auto", template.data_directory, cluster.data_directory], user=server_user())
        cluster.write_own_settings()
        return cluster

    def adopt(self, data_directory: Path, port: int, socket_dir: Path) -> Cluster:
        """A cluster that something else has made and configured, for example a restore."""
        root = self._new_root("adopted")
        return Cluster(self, data_directory, socket_dir=socket_dir, port=port, root=root)

    def empty(self, name: str = "empty", port: int | None = None) -> Cluster:
        """A new cluster with nothing in it, not started: what pg_upgrade takes."""
        cluster = self._new_cluster(name, port)
        self._initialize(cluster)
        return cluster

    def _new_root(self, name: str) -> Path:
        return server_folder(self._folder / f"{next(self._numbers)}-{name}")

    def _new_cluster(self, name: str, port: int | None = None) -> Cluster:
        root = self._new_root(name)
        return Cluster(self, root / "data", socket_dir=server_folder(root / "s", mode=0o700), port=port)

    def _initialize(self, cluster: Cluster) -> None:
        data = cluster.data_directory
        identity = ("--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8")
        self.run("initdb", "--pgdata", data, *identity, "--data-checksums", "--no-sync")
        with (data / "postgresql.conf").open("a") as configuration:
            configuration.write(CONFIGURATION)
        (data / "pg_hba.conf").write_text(ACCESS)
        cluster.write_own_settings()

    @cached_property
    def _template(self) -> Cluster:
        """A stopped cluster with data checksums and something in it."""
        template = self._new_cluster("template")
        self._initialize(template)
        template.start("-F")
        template.sql(f"CREATE DATABASE {DATABASE}", db="postgres")
        template.run("pgbench", "--initialize", "--quiet", DATABASE)
        template.sql(ORDERS)
        with template.connect() as connection:
            role, password = sql.Identifier(PASSWORD_ROLE), sql.Literal(PASSWORD)
            connection.execute(sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(role, password))
        template.stop()
        return template
