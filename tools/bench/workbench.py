# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What benchmarks are written with: the cluster, the contenders, and fair conditions for each measured command."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ansible_collections.lifeboat.postgresql.tests.harness import Cluster, server_user, wait_until
from ansible_collections.lifeboat.postgresql.tests.harness.machine import CLEAN_ENVIRONMENT
from components import say

from .contenders.base import Contender, WalContender
from .contenders.basebackup import PgBaseBackup
from .measuring import Command, Usage, measure
from .stage import Stage

UPDATED_ROWS = 10_000
_SETTINGS = """
listen_addresses = ''
archive_mode = on
archive_command = '/bin/true'
wal_level = replica
shared_buffers = '512MB'
max_wal_size = '16GB'
checkpoint_timeout = '1h'
autovacuum = off
"""
# Noted by the servers that can; the peer reads everything all the same.
_SUMMARIES_SINCE, _SUMMARIES = 17, "summarize_wal = on\n"
_THROW_AWAY = "/bin/true"
_READ_BYTES = 8 << 20

Meter = Callable[[str, Command], Usage]


def settings(major: int) -> str:
    """How the measured server is configured."""
    return _SETTINGS + (_SUMMARIES if major >= _SUMMARIES_SINCE else "")


class Workbench:
    """One run's cluster and contenders. Ours is always the first of `contenders`."""

    def __init__(
        self,
        stage: Stage,
        cluster: Cluster,
        accounts: int,
        contenders: Sequence[WalContender],
        base_backup: PgBaseBackup | None,
        runs: int,
        meter: Meter | None = None,
        in_bucket: Callable[[], Sequence[WalContender]] | None = None,
    ) -> None:
        """*meter* takes the place of measuring; it gets a name for the command, and the command.

        *in_bucket* makes the same contenders with repositories in a bucket. From then on the cluster archives there.
        """
        self._make_in_bucket = in_bucket
        self._stage = stage
        self._cluster = cluster
        self._accounts = accounts
        self.contenders = contenders
        self.base_backup = base_backup
        self.runs = runs
        self._meter = meter or self._measure
        self._full: dict[str, str] = {}
        self._seeds = itertools.count(1)

    @cached_property
    def in_bucket(self) -> Workbench:
        """The same cluster, and contenders that store in a bucket."""
        if self._make_in_bucket is None:
            raise RuntimeError("these contenders are in a bucket already")
        contenders = self._make_in_bucket()
        return Workbench(self._stage, self._cluster, self._accounts, contenders, None, self.runs, self._meter)

    @property
    def cluster(self) -> Cluster:
        """The cluster under test."""
        return self._cluster

    @property
    def ours(self) -> WalContender:
        """Lifeboat."""
        return self.contenders[0]

    def rounds(self) -> Iterator[Sequence[WalContender]]:
        """For each run the contenders, in alternating order."""
        for number in range(self.runs):
            yield self.contenders if number % 2 == 0 else self.contenders[::-1]

    # Work that is measured

    def backup(self, contender: Contender, kind: str) -> Usage:
        """One backup from a warm cache, with all dirty pages written and all older WAL out of the way."""
        self._cluster.sql("CHECKPOINT")
        self._archive_with(contender.archive_command)
        warm(self._cluster.data_directory)
        os.sync()
        usage = self.measured(f"{contender.name}: {kind} backup", contender.backup(kind))
        self._archive_with(_THROW_AWAY)
        if kind == "full":
            self._full[contender.name] = contender.newest()
        return usage

    def restore(self, contender: Contender, backup: str, directory: Path, *, delta: bool = False) -> Usage:
        """One restore, into a new directory unless *delta* brings an old one, in the page cache, up to date."""
        if delta:
            warm(directory)  # whichever way its contents were written
        else:
            self._put_away(directory)
        os.sync()
        kind = "delta restore" if delta else "restore"
        usage = self.measured(f"{contender.name}: {kind}", contender.restore(backup, directory, delta=delta))
        if not (directory / "global/pg_control").exists():
            raise RuntimeError(f"{contender.name} has restored no cluster into {directory}")
        return usage

    def measured(self, what: str, command: Command) -> Usage:
        """Any other command, run as the server's user."""
        usage = self._meter(what, command)
        say(f"{what}: {usage.seconds:.2f} s, CPU {usage.cpu_seconds:.2f} s, {usage.peak_bytes >> 20} MiB")
        return usage

    def _measure(self, _what: str, command: Command) -> Usage:
        return measure(command, server_user(), CLEAN_ENVIRONMENT, self._stage.log)

    # Conditions

    def full_backup(self, contender: Contender) -> str:
        """The contender's last full backup; made, if it has none yet."""
        if contender.name not in self._full:
            self.backup(contender, "full")
        return self._full[contender.name]

    def new_directory(self, name: str) -> Path:
        """Where the server's user may make a directory; not there yet."""
        directory = self._stage.disk / name
        self._put_away(directory)
        return directory

    def _put_away(self, directory: Path) -> None:
        """Give back a directory's space, but delete no file of it.

        ext4 keeps the inodes of deleted files from being used again for minutes, and looks at all of them for every
        new file. What deletes thousands of files and then measures a restore measures that.
        """
        if directory.exists():
            for path in directory.rglob("*"):
                if path.is_file() and not path.is_symlink():
                    os.truncate(path, 0)
            directory.rename(tempfile.mkdtemp(prefix="put-away-", dir=self._stage.disk))

    def update_random_rows(self) -> None:
        """Change ten thousand accounts all over the table, always the same ones in the same run."""
        query = """
            UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid IN
                (SELECT 1 + floor(random() * {accounts})::int FROM generate_series(1, {rows}))
        """
        with self._cluster.connect() as connection:
            connection.execute("SELECT setseed(1 / %s::float)", [next(self._seeds)])
            connection.execute(query.format(accounts=self._accounts, rows=UPDATED_ROWS).encode())

    def _archive_with(self, command: str) -> None:
        """Let finished segments go the old way, then archive with *command*."""
        query = "SELECT last_archived_wal >= %(segment)s FROM pg_stat_archiver"
        self._cluster.sql("SELECT pg_create_restore_point('the end of a segment')")
        ((segment,),) = self._cluster.sql("SELECT pg_walfile_name(pg_switch_wal())")
        wait_until(lambda: self._cluster.sql(query, segment=segment) == [(True,)], f"{segment} was archived")
        self._cluster.set(archive_command=command)


def warm(folder: Path) -> None:
    """Read all files, so that they lie in the page cache."""
    buffer = bytearray(_READ_BYTES)
    for parent, _folders, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            if not os.path.isfile(path):  # such as the socket that wakes our background
                continue
            with open(path, "rb", buffering=0) as opened:
                while opened.readinto(buffer):
                    pass
