# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PostgreSQL cluster under test."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from .guard import end_processes_in, processes_in, wait_until
from .machine import CommandFailed, server_user

if TYPE_CHECKING:
    from .postgres import Postgres

LOCAL_ADDRESS = "127.0.0.1"
DATABASE = "app"
SUPERUSER = "postgres"
# A superuser who can come by TCP, with what careless quoting and careless URLs stumble over.
PASSWORD_ROLE = "lifeboat"
PASSWORD = "tea: 4 o'clock @ 5%/\\"


def free_port() -> int:
    """A port that nobody listens on, below the range that outgoing connections take theirs from."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind((LOCAL_ADDRESS, port))
            except OSError:
                continue
        return port


class Cluster:
    """One data directory and the server on it.

    By its socket, which only its owner can reach, everybody is trusted; by TCP (127.0.0.1) PASSWORD_ROLE comes in with
    PASSWORD. As a context manager it is started, and in the end removed.
    """

    def __init__(
        self,
        postgres: Postgres,
        data_directory: Path,
        *,
        socket_dir: Path,
        port: int | None = None,
        root: Path | None = None,
    ) -> None:
        """*root* is a folder of the server's user that goes with the cluster, by default the one above its data."""
        self.postgres = postgres
        self.data_directory = data_directory
        self.socket_dir = socket_dir
        self.port = port or free_port()
        self.root = root or data_directory.parent
        self.log_file = self.root / "log"

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()

    # The server

    def start(self, options: str = "") -> None:
        """Start the server and wait until it takes connections; *options* go to `postgres`."""
        self._control("start", "--log", self.log_file, "--options", options)

    def stop(self, mode: str = "fast") -> None:
        """Stop the server and wait until it has."""
        self._control("stop", "--mode", mode)

    def restart(self) -> None:
        """Stop and start the server."""
        self._control("restart", "--mode", "fast", "--log", self.log_file)

    def reload(self) -> None:
        """Have the server read its configuration again, and wait until it has."""
        before = self.sql("SELECT pg_conf_load_time()")
        self.sql("SELECT pg_reload_conf()")
        wait_until(lambda: self.sql("SELECT pg_conf_load_time()") > before, "the server had reloaded its configuration")

    def kill(self) -> None:
        """Crash the server: SIGKILL, and wait until it and its children are gone, its process number included.

        PostgreSQL takes a dead postmaster that its parent has not waited for yet for a live one.
        """
        postmaster = self.pid
        os.kill(postmaster, signal.SIGKILL)
        entry = Path(f"/proc/{postmaster}")
        wait_until(lambda: not self.is_running() and not entry.exists(), "the killed server was gone")

    def remove(self) -> None:
        """End the server, if it runs, and delete its files."""
        end_processes_in(self.data_directory)
        for folder in (self.data_directory, self.root):
            shutil.rmtree(folder, ignore_errors=True)

    def is_running(self) -> bool:
        """Whether any process of the server is alive."""
        return bool(processes_in(self.data_directory))

    @property
    def pid(self) -> int:
        """The postmaster's process."""
        return int((self.data_directory / "postmaster.pid").read_text().split()[0])

    def log_tail(self, lines: int = 30) -> str:
        """The end of the server's log."""
        log = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        return "\n".join(log.splitlines()[-lines:])

    def _control(self, action: str, *arguments: str | Path) -> None:
        __tracebackhide__ = True
        waiting = ("--wait", "--timeout", "60")
        try:
            self.postgres.run("pg_ctl", action, "--pgdata", self.data_directory, *waiting, *arguments)
        except CommandFailed as error:
            raise CommandFailed(error.done, self.log_tail()) from None

    # What is in it

    @property
    def owner(self) -> str:
        """The operating system's user who owns the data directory and runs the server."""
        return server_user().pw_name

    def connect(self, db: str = DATABASE, user: str = SUPERUSER, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection by the socket, in autocommit mode; *options* are libpq's and override it."""
        parameters: dict[str, Any] = {"host": str(self.socket_dir), "port": self.port, "dbname": db, "user": user}
        return psycopg.connect(**{**parameters, **options}, autocommit=True)

    def sql(self, query: str, db: str = DATABASE, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement, with `%(name)s` for parameters, or several without; return the rows of the first."""
        with self.connect(db) as connection, connection.cursor() as cursor:
            cursor.execute(query.encode(), parameters or None)
            return cursor.fetchall() if cursor.description else []

    def set(self, **settings: str | int | bool | None) -> None:
        """ALTER SYSTEM, for None back to the default, and reload. What takes a restart waits for `restart()`."""
        with self.connect() as connection:
            for name, value in settings.items():
                change = sql.SQL("RESET {}") if value is None else sql.SQL("SET {} = {}")
                parts = [sql.Identifier(name)] if value is None else [sql.Identifier(name), sql.Literal(str(value))]
                connection.execute(sql.SQL("ALTER SYSTEM ") + change.format(*parts))
        self.reload()

    def run(self, program: str, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's client programs, connected to this cluster by default."""
        return self.postgres.run(program, *arguments, env=self.client_environment, check=check)

    def psql(self, script: str, db: str = DATABASE) -> str:
        """What psql prints for a script, unaligned and without headings."""
        options = ("--no-psqlrc", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1")
        return self.run("psql", *options, "--dbname", db, "--command", script).stdout

    @property
    def client_environment(self) -> dict[str, str]:
        """libpq's variables for this cluster."""
        return {"PGHOST": str(self.socket_dir), "PGPORT": str(self.port), "PGUSER": SUPERUSER}

    def write_own_settings(self) -> None:
        """Put port and socket into the configuration; the last entry wins."""
        with (self.data_directory / "postgresql.conf").open("a") as configuration:
            configuration.write(f"port = {self.port}\nunix_socket_directories = '{self.socket_dir}'\n")
