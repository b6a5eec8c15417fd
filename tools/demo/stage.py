# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the demo plays: a folder with everything in it, a throwaway server, and the certainty that both go.

Cleaning up is the business of a process of its own, the stagehand. It waits until the demo has ended, in whatever
way, then interrupts the playbook that may still run, stops all servers below the folder and removes it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

_PATIENCE_SECONDS = 60


def server_account() -> pwd.struct_passwd:
    """Whom servers run as: ourselves, or when we are root, with whom PostgreSQL refuses to work, an ordinary user."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    with suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


class DemoFailed(Exception):
    """Something did not work; the message says what."""


class Stage:
    """The demo's folder. As a context manager it ends with everything in it, unless it is to be kept."""

    def __init__(self, pg_bin: Path, *, keep: bool) -> None:
        self.pg_bin = pg_bin
        self.keep = keep
        self._account = server_account()
        # Short, because a socket's path has at most 107 characters, and open to the server's user.
        self.folder = Path(tempfile.mkdtemp(prefix="lifeboat-demo-", dir="/tmp"))
        self.folder.chmod(0o755)
        self._player: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Stage:
        reader, self._wire = os.pipe()
        self._stagehand = os.fork()
        if self._stagehand == 0:
            os.close(self._wire)
            self._be_the_stagehand(reader)
        os.close(reader)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._wire)
        if self._player:
            self._player.wait()
        os.waitpid(self._stagehand, 0)

    # Servers

    @property
    def data_directory(self) -> Path:
        """The cluster of the story."""
        return self.folder / "pg/shop"

    @property
    def sockets(self) -> Path:
        """Where all servers have their sockets, and nothing else: their ports are free because nobody shares them."""
        return self.folder / "s"

    def private_folder(self, name: str) -> Path:
        """A folder of the server's user, whom nobody else may visit."""
        path = self.folder / name
        path.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)
        return path

    def start_server(self) -> None:
        """Make the cluster and start its server, which listens on a socket in the folder only."""
        self.private_folder("pg")
        self.private_folder("s")
        self.private_folder("scratch")
        identity = ["--username", "postgres", "--auth", "trust", "--encoding", "UTF8", "--no-locale"]
        self._run("initdb", "--pgdata", str(self.data_directory), *identity, "--data-checksums", "--no-sync")
        with (self.data_directory / "postgresql.conf").open("a") as configuration:
            configuration.write(f"listen_addresses = ''\nunix_socket_directories = '{self.sockets}'\n")
        log = str(self.folder / "pg/log")
        self._run("pg_ctl", "start", "--pgdata", str(self.data_directory), "--wait", "--log", log)

    def server_version(self) -> str:
        """PostgreSQL's version, in its own words."""
        return self._run("postgres", "--version").split(maxsplit=2)[2].strip()

    def _run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs as the server's user; what it printed."""
        drop = os.geteuid() == 0
        done = subprocess.run(
            [str(self.pg_bin / program), *arguments],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            umask=0o077,
            user=self._account.pw_uid if drop else None,
            group=self._account.pw_gid if drop else None,
            extra_groups=[] if drop else None,
        )
        if done.returncode:
            raise DemoFailed(f"{self.pg_bin / program} failed: {done.stdout.strip()}")
        return done.stdout

    # Programs that the demo waits for

    def perform(self, command: Sequence[str | Path], environment: dict[str, str], *, quiet: bool = False) -> int:
        """Run a program in the folder, in a process group of its own, and return how it ended.

        Ctrl-C reaches the demo alone; the stagehand hands it on. Of a *quiet* one only the errors are seen.
        """
        self._player = subprocess.Popen(
            list(command),
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if quiet else None,
            process_group=0,
        )
        os.write(self._wire, b"%d\n" % self._player.pid)
        ended = self._player.wait()
        self._player = None
        os.write(self._wire, b"0\n")
        return ended

    # The stagehand

    def _be_the_stagehand(self, wire: int) -> None:
        """Wait for the end of the demo, then clean up. Never returns."""
        with suppress(BaseException):
            os.setsid()
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            news = b"0\n"
            while heard := os.read(wire, 4096):
                news = heard
            if playing := int(news.split()[-1]):
                _interrupt(playing)
            if not self.keep:
                self._strike()
        os._exit(0)

    def _strike(self) -> None:
        """Stop every server below the folder and remove it, until both are so."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self.folder.exists() and time.monotonic() < deadline:
            for pid_file in list(self.folder.rglob("postmaster.pid")):
                with suppress(DemoFailed):
                    self._run("pg_ctl", "stop", "--mode", "immediate", "--pgdata", str(pid_file.parent))
            shutil.rmtree(self.folder, ignore_errors=True)


def _interrupt(group: int) -> None:
    """End a process group as Ctrl-C would; kill what has not gone after a while."""
    for number in (signal.SIGINT, signal.SIGKILL):
        deadline = time.monotonic() + _PATIENCE_SECONDS
        try:
            os.killpg(group, number)
            while time.monotonic() < deadline:
                os.killpg(group, 0)
                time.sleep(0.1)
        except ProcessLookupError:
            return
