# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL runs for every WAL file: as little as possible.

`archive_command` first looks, in the shell, whether the background has archived the file already.
Only when it has not, this comes: it wakes the background, or starts it, and waits for the
acknowledgement. `restore_command` likewise takes a fetched file in the shell. Whatever is out of
the ordinary - no background can be started, no folder to talk through, a file that nobody waits
for - is done here and now by the commands of `cli`, which also find the words for what is wrong.

Nothing of the engine is imported here but the spool.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time

from . import detached, wal_spool
from .wal_spool import WalSpool

_PATIENCE_SECONDS = 60.0
_BELL_SECONDS = 0.5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.002, 0.05
_ATTEMPTS = 3  # one to see that nobody listens, one for a background that ends at the question as its work was over


def main() -> int:
    """Run `archive-push` or `archive-fetch`."""
    words = sys.argv[1:]
    done = None
    with contextlib.suppress(OSError):  # no room, no permission, no folder: then without a background
        done = _push(words) if words[0] == "archive-push" else _fetch(words)
    if done is not None:
        return done
    from .cli import main as directly

    return directly(words)


def _push(words: list[str]) -> int | None:
    """0 when the file is archived, 1 when it could not be; None when it must be done directly."""
    folder, file_name = os.path.split(words[-1])
    if folder != "pg_wal":
        return None
    life = wal_spool.claimed_life(".")
    if life is None:
        return None
    spool = WalSpool(os.getcwd(), life)
    if not spool.is_ready(file_name):
        return None
    spool.forget_failure(file_name)
    background = _Background(spool, wal_spool.PUSH, "archive-pusher", words[1:-1])
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if not background.wake():
            return None
        until, pause = time.monotonic() + _BELL_SECONDS, _FIRST_PAUSE
        while time.monotonic() < until:
            if spool.is_acknowledged(file_name, os.stat(words[-1])):
                return 0
            failure = spool.failure(file_name)
            if failure is not None:
                sys.stderr.write(f"lifeboat archive-push: {failure}\n")
                return 1
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
    return None  # it hangs, or has no room for an acknowledgement: this one segment at least makes room


def _fetch(words: list[str]) -> int | None:
    """0 when the background had the file, 1 when the archive has none and may end there.

    None when it must be fetched directly, which also explains a failure.
    """
    options, (file_name, destination) = words[1:-2], words[-2:]
    if os.path.dirname(destination) != "pg_wal" or "--incarnation" not in options[:-1]:
        return None
    spool = WalSpool(os.getcwd(), options[options.index("--incarnation") + 1])
    background = _Background(spool, wal_spool.FETCH, "archive-fetcher", options)
    answer = background.answer_to(file_name)
    if answer == wal_spool.READY:
        os.rename(f"{spool.fetched}/{file_name}", destination)
        return 0
    return 1 if answer == wal_spool.MISSING else None


class _Background:
    """The process that does the work for many files."""

    def __init__(self, spool: WalSpool, name: str, job: str, options: list[str]) -> None:
        self._spool = spool
        self._name = name
        # Whoever runs with other options or from another version ends when it reads this.
        self._message = wal_spool.greeting(options)
        own = ["--data-directory", spool.data_directory, "--greeting", self._message]
        self._argv = detached.command([job, *options, *own])

    def answer_to(self, file_name: str) -> str:
        """Ask it for a file, if need be after starting it. Empty when there is no answer."""
        bell, question = self._spool.bell(self._name), f"{self._message}{wal_spool.WANTED}{file_name}"
        deadline, answer = time.monotonic() + _PATIENCE_SECONDS, ""
        for _attempt in range(_ATTEMPTS):
            answer = wal_spool.ask(bell, question, max(_FIRST_PAUSE, deadline - time.monotonic()))
            if answer or time.monotonic() >= deadline or not self.wake():
                break
        return answer

    def _start(self) -> int:
        if not os.path.isdir(self._spool.folder):
            os.mkdir(self._spool.folder, 0o700)
        return detached.start(self._argv, self._spool.log(self._name))

    def wake(self) -> bool:
        """Make sure that it runs and knows that there is work; False when it cannot be had."""
        bell = self._spool.bell(self._name)
        if wal_spool.ring(bell, self._message):
            return True
        process, deadline = self._start(), time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            ended = detached.has_ended(process)
            if wal_spool.ring(bell, self._message):
                return True
            if ended:
                break
            time.sleep(_FIRST_PAUSE)
        return False
