# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster that everything is measured on: made once per PostgreSQL version and scale, then copied.

At scale 300 it holds 7 GB: pgbench's tables, whose rows are nearly all the same, and eight million events with
digests and documents, which compress as real data do.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible_collections.lifeboat.postgresql.tests.harness import Cluster, Postgres
from components import Cache, say

EVENTS_PER_SCALE = 8_000_000 / 300
BYTES_PER_SCALE = 24 << 20
ACCOUNTS_PER_SCALE = 100_000

_FOR_LOADING = """
fsync = off
wal_level = minimal
max_wal_senders = 0
max_wal_size = '8GB'
maintenance_work_mem = '512MB'
shared_buffers = '256MB'
autovacuum = off
synchronous_commit = off
"""

_EVENTS = """
CREATE TABLE events (id bigserial PRIMARY KEY, at timestamptz NOT NULL, token text NOT NULL, payload jsonb NOT NULL);
INSERT INTO events (at, token, payload)
SELECT timestamptz '2026-01-01 00:00+00' + n * interval '1 second', md5(n::text),
       jsonb_build_object('user', n % 10007, 'session', md5((n / 20)::text), 'amount', (n % 100003) / 100.0,
                          'page', '/shop/item/' || n % 4999, 'tags', jsonb_build_array('web', n % 13, n % 101))
FROM generate_series(1, {rows}) AS n
"""


class Yardstick:
    """The template of one scale, in the cache."""

    def __init__(self, postgres: Postgres, cache: Path, scale: int) -> None:
        self._postgres = postgres
        self._cache = Cache(cache)
        self._scale = scale
        self._component = f"bench-{postgres.major}-{scale}"

    @property
    def accounts(self) -> int:
        """How many rows pgbench_accounts has."""
        return ACCOUNTS_PER_SCALE * self._scale

    def copy(self, folder: Path, socket_dir: Path, settings: str) -> Cluster:
        """A cluster with the template's contents and these settings, not started. *folder* is the server user's."""
        template = self._cache.folder / self._component / "data"
        if not template.exists():
            self._make_template(folder, socket_dir)
        say(f"copying the yardstick cluster of scale {self._scale}")
        data = folder / "data"
        subprocess.run(["cp", "-a", "--reflink=auto", template, data], check=True)
        # The cache is open to everybody; a server insists on its privacy.
        subprocess.run(["chmod", "-R", "go=", data], check=True)
        return self._configured(data, socket_dir, settings)

    def _configured(self, data: Path, socket_dir: Path, settings: str) -> Cluster:
        (data / "postgresql.conf").write_text(settings)
        cluster = self._postgres.adopt(data, 5432, socket_dir)
        cluster.write_own_settings()
        return cluster

    def _make_template(self, folder: Path, socket_dir: Path) -> None:
        say(f"making the yardstick cluster of scale {self._scale}; the next run finds it in the cache")
        data = folder / "template"
        options = ("--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8")
        self._postgres.run("initdb", "--pgdata", data, *options, "--data-checksums", "--no-sync")
        with self._configured(data, socket_dir, f"listen_addresses = ''\n{_FOR_LOADING}") as cluster:
            cluster.sql("CREATE DATABASE app", db="postgres")
            cluster.run("pgbench", "--initialize", "--init-steps=dtGvp", f"--scale={self._scale}", "--quiet", "app")
            cluster.sql(_EVENTS.format(rows=round(EVENTS_PER_SCALE * self._scale)))
            cluster.sql("VACUUM (FREEZE, ANALYZE)")  # so that nothing but the benchmarks changes a page later
            cluster.stop()
            self._postgres.run("pg_resetwal", data)  # gigabytes of WAL that nobody needs
            with self._cache.new_component(self._component) as (new, _final):
                subprocess.run(["mv", data, new / "data"], check=True)
