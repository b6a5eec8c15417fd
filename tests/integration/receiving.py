# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A streaming receiver as its systemd unit runs it: `lifeboat receive` in the foreground, as the server's user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from harness import Cluster, server_user, wait_until
from harness.machine import CLEAN_ENVIRONMENT
from support import STANZA, Site, objects


class Receiver:
    """The service, from entering the context to leaving it."""

    def __init__(self, site: Site, spool: Path, *options: str | Path, cluster: str = STANZA, **env: str) -> None:
        self.site = site
        self.spool = spool
        self._cluster = cluster
        self._options = options
        self._env = env
        self.said = spool.parent / f"{spool.name}.said"

    def __enter__(self) -> Receiver:
        self.start()
        return self

    def start(self) -> None:
        """Start it; `said` goes on where it was."""
        user = server_user() if os.geteuid() == 0 else None
        with self.said.open("ab") as log:
            self.process = subprocess.Popen(
                list(self.words()),
                env={**CLEAN_ENVIRONMENT, "HOME": str(self.spool.parent), **self._env},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            )

    def words(self) -> Sequence[str | Path]:
        """The command line."""
        return [
            self.site.command, "receive", "--config", self.site.config_file, "--cluster", self._cluster,
            "--wal-method", "stream", "--spool", self.spool, "--partial-interval", "0.4", *self._options,
        ]  # fmt: skip

    def kill(self) -> None:
        """As when the machine loses power."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """As systemd does; its status."""
        self.process.terminate()
        return self.process.wait(60)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        if error is not None and hasattr(error, "add_note"):
            error.add_note(self.text())

    def text(self) -> str:
        """All that it has said."""
        return self.said.read_text()

    def status(self) -> dict[str, Any]:
        """What it leaves for whoever asks."""
        path = self.spool / "status.json"
        found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def program(self) -> int:
        """The pg_receivewal that runs for it."""
        found: list[int] = []

        def look() -> bool:
            found.clear()
            for folder in Path("/proc").glob("[0-9]*"):
                try:
                    words = (folder / "cmdline").read_bytes()
                except OSError:
                    continue
                if b"pg_receivewal" in words.split(b"\0")[0] and os.fsencode(self.spool) in words:
                    found.append(int(folder.name))
            return len(found) == 1

        wait_until(look, "pg_receivewal ran")
        return found[0]

    def waits_until_says(self, what: str) -> None:
        """Wait until it has said this."""
        wait_until(lambda: what in self.text() or self.process.poll() is not None, f"the receiver said {what!r}")
        assert what in self.text(), self.text()


def archived(repository: Path) -> set[str]:
    """Names of the WAL files in a repository's directory."""
    return wal_files(objects(repository))


def wal_files(names: Iterable[str]) -> set[str]:
    """Those of an archive, among the names of objects."""
    return {Path(name).name.rpartition("-")[0] for name in names if "/wal/" in name}


def partials(names: Iterable[str]) -> list[tuple[str, int]]:
    """The shipped partials among the names of objects: segments, and how much there is of them."""
    found = [Path(name).name.partition("-")[0].split(".") for name in names if "/partials/" in name]
    return [(segment, int(length, 16)) for segment, length in found]


def finish_segment(cluster: Cluster) -> str:
    """Something happens and a segment ends; its name."""
    cluster.sql("SELECT pg_create_restore_point('something')")
    ((segment,),) = cluster.sql("SELECT pg_walfile_name(pg_switch_wal())")
    return str(segment)


def wait_for_shipped(cluster: Cluster, names: Callable[[], Iterable[str]]) -> None:
    """Wait until all that has been written up to now is shipped, in a segment or in a partial."""
    ((segment, offset),) = cluster.sql(
        "SELECT file_name, file_offset FROM pg_walfile_name_offset(pg_current_wal_flush_lsn())"
    )

    def shipped() -> bool:
        seen = list(names())
        # records are aligned to eight bytes, with zeros, which are not shipped
        there = any(name == segment and length >= offset - 8 for name, length in partials(seen))
        return there or segment in wal_files(seen)

    wait_until(shipped, f"{segment} was shipped up to {offset}")
