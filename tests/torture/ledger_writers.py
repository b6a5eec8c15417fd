# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several sessions at once that write numbered rows, in every kind of transaction: what the ledger watches."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType

from harness import DATABASE, Cluster, server_user, wait_until
from harness.machine import CLEAN_ENVIRONMENT

TABLE = "ledger"
CREATE = f"CREATE TABLE {TABLE} (number bigserial, how text)"
_ROW = f"INSERT INTO {TABLE} (how) VALUES ('%s');"
# Each with its weight.
_SCRIPTS = {
    "plain": (10, _ROW % "plain"),
    "several": (4, "BEGIN;" + _ROW % "first" + _ROW % "second" + "COMMIT;"),
    "aborted": (3, "BEGIN;" + _ROW % "never" + "ROLLBACK;"),
    "sub": (
        4,
        (
            "BEGIN;" + _ROW % "top" + "SAVEPOINT a;" + _ROW % "never" + "ROLLBACK TO a;"
            "SAVEPOINT b;" + _ROW % "sub" + "SAVEPOINT c;" + _ROW % "deeper" + "RELEASE b;COMMIT;"
        ),
    ),
    "aborted with subs": (1, "BEGIN;SAVEPOINT a;" + _ROW % "never" + "RELEASE a;" + _ROW % "never" + "ROLLBACK;"),
    "two phases": (
        3,
        (
            r"\set n random(1, 1000000000000)" + "\nBEGIN;SAVEPOINT a;" + _ROW % "prepared" + "RELEASE a;"
            "PREPARE TRANSACTION 'p:n';" + _ROW % "between" + "COMMIT PREPARED 'p:n';"
        ),
    ),
    "two phases in vain": (
        1,
        (
            r"\set n random(1, 1000000000000)" + "\nBEGIN;" + _ROW % "never" + "PREPARE TRANSACTION 'p:n';"
            "ROLLBACK PREPARED 'p:n';"
        ),
    ),
}
_SESSIONS, _RATE = 4, 150
MOST_PREPARED = 60


def _files(cluster: Cluster, *, prepare: bool = True) -> list[str | Path]:
    options: list[str | Path] = []
    for name, (weight, text) in _SCRIPTS.items():
        if "PREPARE" in text and not prepare:
            continue
        path = cluster.root / f"ledger-{name.replace(' ', '-')}.sql"
        path.write_text(text.replace(";", ";\n"))
        options += ["--file", f"{path}@{weight}"]
    return options


def write(cluster: Cluster, transactions: int) -> None:
    """So many from each session, as fast as they can: that is when commits overtake one another."""
    amount = ("--no-vacuum", "--client", str(_SESSIONS), "--transactions", str(transactions))
    cluster.run("pgbench", *amount, *_files(cluster), DATABASE)


def settle(cluster: Cluster, *, commit: bool) -> int:
    """End what dead sessions have left prepared; how many there were."""
    left = [name for (name,) in cluster.sql("SELECT gid FROM pg_prepared_xacts")]
    for name in left:
        cluster.sql(f"{'COMMIT' if commit else 'ROLLBACK'} PREPARED '{name}'")
    return len(left)


class Writers:
    """They work until they are left, as a context manager; their server may die before. They may not `prepare`."""

    def __init__(self, cluster: Cluster, *, prepare: bool = True) -> None:
        self._cluster = cluster
        self._prepare = prepare

    def __enter__(self) -> Writers:
        cluster = self._cluster
        user = server_user() if os.geteuid() == 0 else None
        amount = ["--no-vacuum", "--client", str(_SESSIONS), "--rate", str(_RATE), "--time", "600"]
        before = self._position()
        self._process = subprocess.Popen(
            [cluster.postgres.bin_dir / "pgbench", *amount, *_files(cluster, prepare=self._prepare), DATABASE],
            env={**CLEAN_ENVIRONMENT, **cluster.client_environment},
            cwd=cluster.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )
        wait_until(lambda: self._position() != before or self._process.poll() is not None, "somebody had written")
        return self

    def _position(self) -> object:
        return self._cluster.sql(f"SELECT last_value FROM {TABLE}_number_seq")

    def wait_for(self, rows: int) -> None:
        """Wait until about so many more have been written."""
        query = f"SELECT last_value >= %(wanted)s FROM {TABLE}_number_seq"
        ((number,),) = self._cluster.sql(f"SELECT last_value FROM {TABLE}_number_seq")
        wait_until(lambda: self._cluster.sql(query, wanted=number + rows) == [(True,)], "more was written")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End them, wherever they are in their transactions."""
        self._process.terminate()
        self._process.wait()
        if error is None and self._cluster.is_running():
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'"
            wait_until(lambda: self._cluster.sql(query) == [(0,)], "their sessions had ended")
