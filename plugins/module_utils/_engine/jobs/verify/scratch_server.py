# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scratch server's life: confined, following production's WAL, gone with whoever started it.

A replayed CREATE TABLESPACE names production's own directory. In the sandbox it cannot be written
to, so the server gives up there; then the path is made to lead to a scratch directory and the
recovery goes on. Where a machine allows no sandbox, `isolation` says so: the caller decides what
may still be replayed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ... import durable
from ...errors import ExternalToolError
from ...ports import ProgressSink
from ...postgres.data_directory import TABLESPACES
from ...postgres.instance import Instance, Outcome
from ...postgres.scratch import ScratchPlace
from ...report.events import Warned
from ...sandbox import REFUSED, Sandbox

if TYPE_CHECKING:
    from ...process import Process

_PATIENCE_SECONDS = 120
_MOST_TABLESPACES = 100


class ScratchServer:
    """One recovery in a scratch place. As a context manager it is stopped in the end, whatever happened."""

    def __init__(self, instance: Instance, place: ScratchPlace, preload_libraries: Sequence[str] = ()) -> None:
        self.instance = instance
        self._place = place
        self._preload_libraries = preload_libraries
        self._mapped: dict[Path, Path] = {}
        self._process: Process | None = None
        self.refusal = self._try_sandbox()

    @property
    def isolation(self) -> str:
        """How it is kept from production's files, for people."""
        return f"none ({self.refusal})" if self.refusal else self._sandbox().kind()

    def _sandbox(self) -> Sandbox:
        return Sandbox([self._place.root, self._place.socket_directory], self._mapped)

    def _try_sandbox(self) -> str:
        """Why this machine allows no sandbox; empty when it does."""
        probe = [self.instance.programs.path("postgres"), "--version"]
        done = self.instance.runner.run(probe, check=False, inside=self._sandbox())
        return done.stderr.strip() if done.returncode == REFUSED else ""

    def recover(self, timeout: float, sink: ProgressSink) -> None:
        """Start the server and wait until it is open; tablespaces that the WAL makes get a place."""
        deadline = self.instance.clock.monotonic() + timeout
        while True:
            self._start()
            try:
                remaining = max(0.0, deadline - self.instance.clock.monotonic())
                self.instance.wait_until(Outcome.OPEN, remaining, self._process)
                return
            except ExternalToolError:
                name = self.instance.replayed_tablespace()
                if self.refusal or name is None or name in self._mapped or len(self._mapped) >= _MOST_TABLESPACES:
                    raise
            self._mapped[name] = self._place.replayed_tablespaces / str(len(self._mapped))
            durable.make_directories(self._mapped[name], 0o700)
            sink.emit(Warned(f"the WAL makes a tablespace at {name}: the scratch server has it in a place of its own"))

    def _start(self) -> None:
        settings = self._place.settings(self._preload_libraries)
        argv = [self.instance.programs.path("postgres"), "-D", str(self.instance.data_directory)]
        self._process = self.instance.runner.start(
            [*argv, *(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))],
            output=self.instance.log_file,
            attempted=f"starting the scratch server in {self.instance.data_directory}",
            inside=None if self.refusal else self._sandbox(),
        )

    def stop(self) -> None:
        """Stop cleanly if possible, at once if not. Then nothing in the directory leads to production any more."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.is_running() and not process.end(signal.SIGINT, _PATIENCE_SECONDS):
            process.kill()
        links = self.instance.data_directory / TABLESPACES
        for link in [each for each in links.iterdir() if each.is_symlink()]:
            place = self._mapped.get(Path(os.readlink(link)))
            if place is not None:
                link.unlink()
                link.symlink_to(place)
