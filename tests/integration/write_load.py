# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write load on a cluster under test, of every kind that makes its files change, grow, shrink, appear and vanish."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType

from harness import DATABASE, Cluster, server_user, wait_until
from harness.machine import CLEAN_ENVIRONMENT

# Each with its weight; pgbench's own transactions come to these.
SCRIPTS = {
    "grow": (20, "INSERT INTO load_rows SELECT g, repeat(md5(g::text), 4) FROM generate_series(1, 300) AS g;"),
    "update": (20, "UPDATE load_rows SET word = md5(word) WHERE n = 1 + (random() * 299)::int;"),
    "shrink": (4, "DELETE FROM load_rows WHERE n > 20; VACUUM load_rows;"),
    "come and go": (
        8,
        (
            "DROP TABLE IF EXISTS load_:client_id;"
            "CREATE TABLE load_:client_id AS SELECT g, md5(g::text) FROM generate_series(1, 2000) AS g;"
            "CREATE INDEX ON load_:client_id (md5); ANALYZE load_:client_id;"
        ),
    ),
    "truncate": (2, "TRUNCATE load_short; INSERT INTO load_short SELECT generate_series(1, 5000);"),
}
# What ends a segment, now and then: a backup from a standby waits for that and cannot do it.
SWITCH = (1, "SELECT pg_switch_wal();")
OWN_TRANSACTIONS = 60
TABLES = (
    "pgbench_accounts", "pgbench_branches", "pgbench_tellers", "pgbench_history", "load_rows", "load_short", "orders",
)  # fmt: skip
# pgbench keeps these the same, whatever moment one looks at.
BALANCED = (
    "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM pgbench_branches)"
    " AND (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)"
)


class WriteLoad:
    """pgbench that works until it is left, as a context manager."""

    def __init__(self, cluster: Cluster, *, clients: int = 2, rate: int = 60, switching: bool = False) -> None:
        self._cluster = cluster
        self._scripts = {**SCRIPTS, "switch": SWITCH} if switching else SCRIPTS
        self._options = ["--no-vacuum", "--client", str(clients), "--rate", str(rate), "--time", "3600"]

    def __enter__(self) -> WriteLoad:
        cluster = self._cluster
        cluster.sql("CREATE TABLE IF NOT EXISTS load_rows (n int, word text)")
        cluster.sql("CREATE INDEX IF NOT EXISTS load_words ON load_rows (word)")
        cluster.sql("CREATE TABLE IF NOT EXISTS load_short (n int)")
        folder = cluster.root
        files: list[str | Path] = ["--builtin", f"tpcb-like@{OWN_TRANSACTIONS}"]
        for name, (weight, text) in self._scripts.items():
            path = folder / f"load-{name.replace(' ', '-')}.sql"
            path.write_text("\n".join(f"{part};" for part in text.split(";") if part) + "\n")
            files += ["--file", f"{path}@{weight}"]
        user = server_user() if os.geteuid() == 0 else None
        self._log = (folder / "load.log").open("w+")
        self._process = subprocess.Popen(
            [cluster.postgres.bin_dir / "pgbench", *self._options, *files, DATABASE],
            env={**CLEAN_ENVIRONMENT, **cluster.client_environment},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )
        wait_until(lambda: self.transactions() > 0 or self._process.poll() is not None, "the load had begun")
        return self

    def transactions(self) -> int:
        """How many of pgbench's own transactions have been committed since it was first started."""
        return int(self._cluster.sql("SELECT count(*) FROM pgbench_history")[0][0])

    def wait_for(self, more: int = 30) -> None:
        """Wait until so many more are."""
        enough = self.transactions() + more
        wait_until(lambda: self.transactions() >= enough, "the load had gone on")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it; that it has failed before is an error, unless there is one already."""
        failed = self._process.poll() is not None
        if not failed:
            self._process.terminate()
            self._process.wait()
        self._log.seek(0)
        said = self._log.read()
        self._log.close()
        if failed and error is None:
            raise AssertionError(f"pgbench ended by itself:\n{said}")


def contents(cluster: Cluster) -> dict[str, tuple[int, int]]:
    """Rows and a fingerprint of each table that the load writes to."""
    found = {}
    for table in TABLES:
        if cluster.sql("SELECT to_regclass(%(table)s) IS NOT NULL", table=table) == [(True,)]:
            query = f"SELECT count(*), coalesce(sum(hashtext(t::text)::bigint), 0)::bigint FROM {table} AS t"
            ((rows, fingerprint),) = cluster.sql(query)
            found[table] = (rows, fingerprint)
    return found
