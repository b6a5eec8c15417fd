# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the background processes of `archive_command` and `restore_command` have in common.

There is one of each per data directory, by a lock that the kernel gives back however it ends.
Each sleeps at a socket that the foreground rings.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

from . import wal_spool
from .clock import Clock
from .wal_spool import WalSpool

_LONGEST_MESSAGE = 1 << 16
_MOST_HANDLES = 1


@contextlib.contextmanager
def only_one(lock: str) -> Iterator[bool]:
    """True inside the block when no other process holds the lock."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)


def end(spool: WalSpool, name: str, clock: Clock, timeout: float = 10.0) -> None:
    """Have a background process end, and return when it is gone: somebody may be about to remove its folder."""
    deadline = clock.monotonic() + timeout
    while wal_spool.ring(spool.bell(name), "end") and clock.monotonic() < deadline:
        clock.sleep(0.02)
    while os.path.exists(spool.lock(name)) and clock.monotonic() < deadline:
        with only_one(spool.lock(name)) as alone:
            if alone:
                return
        clock.sleep(0.02)


class Call:
    """Somebody has rung: what was said, and where an answer goes if it is waited for."""

    def __init__(self, text: str, handles: list[int]) -> None:
        self.text = text
        self._handles = handles

    def answer(self, text: str) -> None:
        """Say something to who waits, if he still does."""
        for handle in self._handles:
            with contextlib.suppress(OSError):
                os.write(handle, text.encode("ascii"))
        self.close()

    def close(self) -> None:
        """There is no answer, or no other one."""
        while self._handles:
            os.close(self._handles.pop())


class Bell:
    """The listening end. While it is open, whoever rings knows that somebody is there.

    A socket and no named pipe: whoever opens all files of a data directory would wait at that for ever.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)  # of an earlier one: we hold the lock
        with wal_spool.BellAddress(path) as address:
            self._listener.bind(address)

    def wait(self, seconds: float) -> list[Call]:
        """Sleep until it rings or the time is over; who did."""
        calls: list[Call] = []
        if select.select([self._listener], [], [], seconds)[0]:
            with contextlib.suppress(BlockingIOError):
                while True:
                    data, handles, _flags, _address = socket.recv_fds(
                        self._listener, _LONGEST_MESSAGE, _MOST_HANDLES, socket.MSG_CMSG_CLOEXEC
                    )
                    calls.append(Call(data.decode("utf-8", "replace"), handles))
        return calls

    def said(self, seconds: float) -> list[str]:
        """The same for who answers nobody: what was said."""
        calls = self.wait(seconds)
        for call in calls:
            call.close()
        return [call.text for call in calls]

    def ring(self) -> None:
        """Wake our own main thread."""
        wal_spool.ring(self._path, "")

    def close(self) -> None:
        """From here on nobody listens."""
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


class ChangedFile:
    """Notices that a file is not the one it was."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._was = self._look()

    def changed(self) -> bool:
        """Whether it has been written, replaced or removed."""
        return self._look() != self._was

    def _look(self) -> tuple[int, int, int] | None:
        if self._path is None:
            return None
        try:
            facts = self._path.stat()
        except OSError:
            return None
        return facts.st_ino, facts.st_mtime_ns, facts.st_size


def make_folders(*folders: str) -> None:
    """The spool's folders, for the server's owner alone."""
    for folder in folders:
        os.makedirs(folder, mode=0o700, exist_ok=True)


def remove_other_lives(folder: str, spool: WalSpool) -> None:
    """Acknowledgements and fetched files of other lives mean nothing here."""
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if name != spool.life:
                remove_files(f"{folder}/{name}")
                with contextlib.suppress(OSError):
                    os.rmdir(f"{folder}/{name}")


def remove_files(folder: str) -> None:
    """All files of a folder of the spool."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{folder}/{name}")
