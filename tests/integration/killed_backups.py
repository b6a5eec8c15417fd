# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Started by a test: one backup after another, each killed one step further, kind by kind of step.

    killed_backups.py CONFIG CLUSTER TYPE STRIDE

A step is whatever changes the repository: in a directory a file that is created, written to, synced, named or removed
and a directory that is made or removed; in a bucket a request other than a read, which is counted before it is sent and
once more when its answer has come. Steps are counted by kind, because threads make the order among kinds another each
time. Prints a line of JSON for each backup: the step, the ids of the backups that were visible afterwards, and what
reading every byte of them complained of; of each kind the last backup is one that came to its end. With a STRIDE above
one it takes the first and then every so manyth step of each kind. Steps that repeat the one before (such as one write
after another) are passed over, but for every tenth.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import config
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.backup import physical as backup
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.verify import content as verify_content
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import Event
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.access import stanza_of
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import ClusterSpec, RepositorySpec

REPEATS = 10
NAMING = ("replace", "link", "unlink", "mkdir", "rmdir")
IN_A_DIRECTORY = ("create", "write", "sync", *NAMING)
IN_A_BUCKET = tuple(f"{when}-{method}" for method in ("PUT", "POST", "DELETE") for when in ("before", "after"))


class Silence:
    """A progress sink."""

    def emit(self, event: Event) -> None:
        """Nobody listens."""


class Steps:
    """Counts the steps of one kind and dies just before the one that is due."""

    def __init__(self, kind: str, due: int, pipe: int) -> None:
        self._kind, self._due, self._pipe = kind, due, pipe
        self._count = self._repeated = 0
        self._last = ""

    def step(self, what: str) -> None:
        """Something is about to be done."""
        kind = what.split(" ")[0]
        self._repeated = self._repeated + 1 if kind == self._last else 0
        self._last = kind
        if kind != self._kind or self._repeated % REPEATS:
            return
        self._count += 1
        if self._count == self._due:
            os.write(self._pipe, what.encode())
            os.kill(os.getpid(), signal.SIGKILL)


def watch_directory(root: str, steps: Steps) -> None:
    """Let the operating system's functions announce what they do below a directory."""

    def watched(name: str, function: Any, path_of: Any) -> Any:
        def announcing(*arguments: Any, **options: Any) -> Any:
            path = path_of(*arguments)
            if path.startswith(root):
                steps.step(f"{name} {path[len(root) :]}")
            return function(*arguments, **options)

        return announcing

    def opened(path: Any, flags: int = 0, *_rest: Any, **_options: Any) -> str:
        return os.fspath(path) if flags & os.O_CREAT else ""

    def descriptor(number: Any, *_rest: Any) -> str:
        return os.readlink(f"/proc/self/fd/{number}")

    def path(first: Any, *_rest: Any, **_options: Any) -> str:
        return os.fspath(first)

    for name in NAMING:
        setattr(os, name, watched(name, getattr(os, name), path))
    os.open = watched("create", os.open, opened)
    os.fsync = watched("sync", os.fsync, descriptor)

    from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.local import LocalWriter

    write = LocalWriter.write

    def write_in_halves(self: LocalWriter, data: bytes) -> None:
        half = len(data) // 2
        write(self, data[:half])
        steps.step(f"write {self._name}")
        write(self, data[half:])

    LocalWriter.write = write_in_halves  # type: ignore[method-assign]


def watch_bucket(steps: Steps) -> None:
    """Let requests announce themselves, and their answers too."""
    from botocore.httpsession import URLLib3Session

    send = URLLib3Session.send

    def announcing(self: Any, request: Any) -> Any:
        what = f"{request.method} {request.url.partition('?')[0].rpartition('/')[2]}"
        if request.method not in ("GET", "HEAD"):
            steps.step(f"before-{what}")
        answer = send(self, request)
        if request.method not in ("GET", "HEAD"):
            steps.step(f"after-{what}")
        return answer

    URLLib3Session.send = announcing


def attempt(cluster: ClusterSpec, repository: RepositorySpec, backup_type: str, kind: str, due: int) -> tuple[str, str]:
    """A backup in a process of its own: what it died at, and why it failed if it did otherwise."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        steps = Steps(kind, due, writing)
        if repository.url.startswith("s3:"):
            watch_bucket(steps)
        else:
            watch_directory(repository.url, steps)
        request = backup.BackupRequest(cluster, repository, backup_type=backup_type, journal_every=8 << 20)
        try:
            backup.run(request, SystemClock(), Silence())
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        step = stream.read()
    _pid, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return step, "" if code == (-signal.SIGKILL if step else 0) else f"exit {code}"


def complaints(cluster: ClusterSpec, repository: RepositorySpec, proven: set[str]) -> tuple[list[str], list[str]]:
    """The visible backups, and what is wrong with the first, with the last, or with one that was not looked at yet."""
    found = []
    stanza = stanza_of(repository, cluster.stanza)
    headers = stanza.headers()
    for header in headers:
        if header.backup_id in proven and header not in (headers[0], headers[-1]):
            continue
        proven.add(header.backup_id)
        try:
            checks = verify_content.verify(stanza, header, 2, Silence())
        except LifeboatError as error:
            found.append(error.message)
            continue
        found += [f"{check.name}: {check.evidence}" for check in checks if not check.ok]
    return [header.backup_id for header in headers], found


def main(path: Path, name: str, backup_type: str, stride: int) -> None:
    """Go from step to step."""
    cluster, repository = config.specs(name, config.cluster_settings(config.read(path), path, name))
    proven: set[str] = set()
    kinds = IN_A_BUCKET if repository.url.startswith("s3:") else IN_A_DIRECTORY
    for kind in kinds:
        for due in itertools.count(1, stride):
            step, failure = attempt(cluster, repository, backup_type, kind, due)
            visible, wrong = complaints(cluster, repository, proven)
            note = {"kind": kind, "step": step, "failure": failure, "visible": visible, "wrong": wrong}
            sys.stdout.write(json.dumps(note) + "\n")
            sys.stdout.flush()
            if not step:
                break


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
