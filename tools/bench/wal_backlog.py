# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backlog of WAL that nobody has archived yet, as after an outage of the archive, and how contenders deal with it."""

from __future__ import annotations

import shlex
import subprocess
import time
from functools import cache
from pathlib import Path

from ansible_collections.lifeboat.postgresql.tests.harness import Cluster, server_user, wait_until
from ansible_collections.lifeboat.postgresql.tests.harness.machine import CLEAN_ENVIRONMENT
from components import say

from .contenders.base import WalContender
from .measuring import Usage
from .workbench import Workbench

SEGMENTS = 150
_TRANSACTIONS, _CLIENTS = 5000, 4
_SECONDS = 900


@cache
def backlog(bench: Workbench) -> Backlog:
    """One for all benchmarks of a run."""
    return Backlog(bench)


class Backlog:
    """A backup of each contender, and then 150 segments that pgbench has filled."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self._cluster: Cluster = bench.cluster
        self._wal = self._cluster.data_directory / "pg_wal"
        self._status = self._wal / "archive_status"
        self._cluster.set(wal_keep_size="16GB", synchronous_commit="off")
        self._first = self._present_segment()
        self._backups: dict[str, str] = {}
        for contender in bench.contenders:
            bench.full_backup(contender)
            bench.backup(contender, "incremental")  # WAL between an earlier full one and now is archived nowhere
            self._backups[contender.name] = contender.newest()
        self._cluster.set(archive_command="")
        self._fill()
        self.segments = sorted(
            path.stem for path in self._status.iterdir() if len(path.stem) == 24 and path.stem >= self._first
        )
        say(f"{len(self.segments)} segments wait to be archived")

    def _present_segment(self) -> str:
        ((name,),) = self._cluster.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
        return str(name)

    def _fill(self) -> None:
        """Each round begins after a checkpoint, as on a server whose checkpoints are minutes apart: whole pages go into
        WAL again, and 150 segments take minutes, not half an hour.
        """
        query = "SELECT pg_current_wal_lsn() - %(start)s::pg_lsn > %(bytes)s"
        ((start,),) = self._cluster.sql("SELECT pg_current_wal_lsn()")
        needed = SEGMENTS * (16 << 20)
        while self._cluster.sql(query, start=start, bytes=needed) != [(True,)]:
            options = ("--no-vacuum", f"--client={_CLIENTS}", f"--transactions={_TRANSACTIONS}", "--protocol=prepared")
            self._cluster.sql("CHECKPOINT")
            self._cluster.run("pgbench", *options, "app")
        self._cluster.sql("SELECT pg_switch_wal()")
        self._cluster.sql("CHECKPOINT")

    def reset(self, contender: WalContender) -> None:
        """As if the contender had archived nothing of it, and nobody else either."""
        self._cluster.set(archive_command="")
        contender.forget_wal()
        for name in self.segments:
            done = self._status / f"{name}.done"
            if done.exists():
                done.rename(self._status / f"{name}.ready")
        subprocess.run(["sync"], check=True)

    def drain(self, contender: WalContender) -> float:
        """Seconds until the server has seen all of it archived."""
        self._cluster.set(archive_command=contender.wal_command)
        beginning = time.monotonic()
        wait_until(
            lambda: not any(path.suffix == ".ready" for path in self._status.iterdir()),
            f"{contender.name} had archived everything",
            timeout=_SECONDS,
        )
        seconds = time.monotonic() - beginning
        say(f"{contender.name}: {len(self.segments)} segments archived in {seconds:.2f} s")
        return seconds

    def calls(self, contender: WalContender) -> list[float]:
        """Seconds of each call for a segment that is archived already, by the server's shell, in its order."""
        self.reset(contender)
        for name in self.segments:  # as the server would, but leaving everything as it was
            self._call(contender, name)
        return [self._call(contender, name) for name in self.segments]

    def _call(self, contender: WalContender, name: str) -> float:
        command = contender.wal_command.replace("%p", f"pg_wal/{name}").replace("%f", name)
        user = server_user()
        beginning = time.monotonic()
        subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self._cluster.data_directory,
            env=CLEAN_ENVIRONMENT,
            user=user.pw_uid,
            group=user.pw_gid,
            check=True,
        )
        return time.monotonic() - beginning

    def replay(self, contender: WalContender, directory: Path) -> Usage:
        """Start a restored directory and wait until it has replayed all of it and is open."""
        self.bench.measured(
            f"{contender.name}: restore",
            contender.restore_to_end(self._backups[contender.name], directory),
        )
        cluster = self._cluster
        restored = cluster.postgres.adopt(directory, cluster.port + 1, cluster.socket_dir)
        options = {
            "port": str(restored.port),
            "unix_socket_directories": str(restored.socket_dir),
            "hot_standby": "off",  # nobody gets in before all of it is replayed
            "archive_mode": "off",
        }
        settings = " ".join(f"-c {name}={value}" for name, value in options.items())
        programs = cluster.postgres.bin_dir
        control = [f"{programs}/pg_ctl", f"--pgdata={directory}", "--wait", f"--timeout={_SECONDS}"]
        start = [*control, f"--log={directory}/recovery.log", f"--options={settings}", "start"]
        asked = [f"{programs}/pg_isready", "--quiet", f"--host={restored.socket_dir}", f"--port={restored.port}"]
        until_open = f"{shlex.join(start)} && until {shlex.join(asked)}; do sleep 0.02; done"
        try:
            usage = self.bench.measured(f"{contender.name}: recovery", ["/bin/sh", "-c", until_open])
            self._require_all(contender, restored)
        finally:
            self.bench.measured("stop", [*control, "--mode=immediate", "stop"])
        return usage

    def _require_all(self, contender: WalContender, restored: Cluster) -> None:
        """A recovery that ended early would seem fast."""
        ((last,),) = restored.sql("SELECT pg_walfile_name(pg_current_wal_lsn())", db="postgres")
        if last[8:] < self.segments[-1][8:]:
            raise RuntimeError(f"{contender.name} has replayed up to {last}, not {self.segments[-1]}")
