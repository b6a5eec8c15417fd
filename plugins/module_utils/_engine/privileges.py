# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Working as the owner of the data directory, whoever started us.

PostgreSQL's programs refuse to run as root, and files that root writes into a data directory are
of no use to the server. So root forks a worker that becomes the owner for good; events, the
result and errors come back through a pipe. The owner himself needs no worker. Everything the
task imports must be imported before: the owner may not be able to read where our code lies.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import select
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any, NoReturn

from . import errors
from .errors import InterruptedJobError, LifeboatError, PreconditionError
from .ports import ProgressSink
from .process import parent_death_guard, signal_name
from .report import events
from .sandbox import keep_mounting

Task = Callable[[ProgressSink], dict[str, Any]]

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE_SECONDS = 20.0  # for a worker that was asked to stop and cleans up


@dataclass(frozen=True)
class Owner:
    """An account of this machine."""

    uid: int
    gid: int
    name: str


def account(uid: int) -> Owner:
    """The account with this number."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise PreconditionError(
            f"looking up the user with the number {uid}",
            "this machine knows no such user.",
            "Create an account for the owner of the data directory: PostgreSQL's programs need one too.",
            code="unknown_user",
        ) from None
    return Owner(entry.pw_uid, entry.pw_gid, entry.pw_name)


def account_named(name: str) -> Owner:
    """The account with this name."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise PreconditionError(
            f"looking up the user {name}",
            "this machine knows no such user.",
            "Correct the name, or create the account that the server shall run as.",
            code="unknown_user",
        ) from None
    return Owner(entry.pw_uid, entry.pw_gid, entry.pw_name)


def owner_of(path: Path) -> Owner:
    """Who owns a data directory, and therefore runs its server."""
    attempted = f"finding out who owns {path}"
    try:
        uid = path.stat().st_uid
    except OSError as exc:
        raise PreconditionError(
            attempted,
            f"it cannot be looked at: {exc.strerror}.",
            "Check the path, and run as root (in a play: become: true) or as its owner.",
            code="data_directory_unreachable",
        ) from exc
    if uid == 0:
        raise PreconditionError(
            attempted,
            "it belongs to root, but PostgreSQL refuses to run as root.",
            "Check the path; a data directory belongs to the user its server runs as, usually postgres.",
            code="data_directory_owned_by_root",
        )
    return account(uid)


def run_as(owner: Owner, task: Task, sink: ProgressSink, *, may_mount: bool = False) -> dict[str, Any]:
    """Run `task` as `owner` and return its result, which must be JSON.

    Call it from the main thread, before there are others. SIGTERM, SIGINT and SIGHUP become an
    InterruptedJobError inside the task, once, so that it can clean up; when it takes too long
    over that, it is killed. When we are killed ourselves, the worker is too. Files are created
    for the owner only. With `may_mount` a worker of root keeps what `sandbox.Sandbox` needs.
    """
    user = os.geteuid()
    if user not in {0, owner.uid}:
        raise PreconditionError(
            f"working on files of {owner.name}",
            f"this runs as {account(user).name}, who is neither root nor {owner.name}.",
            f"Run it as root (in a play: become: true) or as {owner.name} (become_user: {owner.name}).",
            code="wrong_user",
        )
    with _stop_signals_raise(), _private_files():
        if user == owner.uid:
            return _call_here(task, sink)
        return _call_in_worker(owner, task, sink, may_mount)


def _call_here(task: Task, sink: ProgressSink) -> dict[str, Any]:
    try:
        return task(sink)
    except LifeboatError:
        raise
    except Exception as exc:
        raise _unforeseen(exc) from exc


def _call_in_worker(owner: Owner, task: Task, sink: ProgressSink, may_mount: bool) -> dict[str, Any]:
    guard = parent_death_guard()
    reader, writer = os.pipe()
    worker = 0
    with open(reader, "rb") as messages:
        try:
            with _stop_signals_held():  # none may strike while it is unclear who is who
                worker = os.fork()
                if worker == 0:
                    os.close(reader)
                    _be_the_worker(owner, guard, writer, task, may_mount)
                os.close(writer)
            answer = _relay(messages, sink)
        except BaseException:
            if worker:
                _stop(worker, messages)
            raise
        _pid, status = os.waitpid(worker, 0)
    if answer is None:
        raise _worker_died(status)
    if "error" in answer:
        raise errors.from_dict(answer["error"])
    return dict(answer["result"])


def _relay(messages: IO[bytes], sink: ProgressSink) -> dict[str, Any] | None:
    """Pass the worker's events on; return its last word, or None when it dies without one."""
    for line in messages:
        message: dict[str, Any] = json.loads(line)
        if "event" not in message:
            return message
        sink.emit(events.from_dict(message))
    return None


def _stop(worker: int, messages: IO[bytes]) -> None:
    """Let the worker clean up, listening to no more news; then make sure that it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGTERM)
    end = time.monotonic() + _PATIENCE_SECONDS
    pipe = messages.fileno()
    while select.select([pipe], [], [], max(0.0, end - time.monotonic()))[0]:
        if not os.read(pipe, 65536):  # its end of the pipe closes with its life
            break
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)


def _unforeseen(exc: Exception) -> LifeboatError:
    return LifeboatError(
        "running the job",
        f"it failed in a way nobody foresaw: {type(exc).__name__}: {exc}.",
        "This is a defect in Lifeboat; please report it with the traceback.",
        code="internal_error",
        traceback="".join(traceback.format_exception(type(exc), exc, exc.__traceback__)),
    )


def _worker_died(status: int) -> InterruptedJobError:
    if os.WIFSIGNALED(status):
        how = f"its worker was killed by {signal_name(os.WTERMSIG(status))}."
    else:
        how = f"its worker ended with status {os.WEXITSTATUS(status)} and without a result."
    return InterruptedJobError(
        "running the job",
        how,
        "Look into the kernel's log for a shortage of memory and into the system's for who killed it; then try again.",
        code="worker_died",
    )


def _be_the_worker(owner: Owner, guard: Callable[[], None], writer: int, task: Task, may_mount: bool) -> NoReturn:
    """Everything the new process does. It leaves by `_exit`: what is on the stack belongs to the parent."""
    status = 1
    try:
        channel = _Channel(writer)
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
            with keep_mounting() if may_mount else contextlib.nullcontext():
                _become(owner)
            guard()
            channel.send(json.dumps({"result": task(channel)}))
        except Exception as exc:
            error = exc if isinstance(exc, LifeboatError) else _unforeseen(exc)
            channel.send(json.dumps({"error": error.as_dict()}, default=str))
        status = 0
    finally:
        os._exit(status)


def _become(owner: Owner) -> None:
    """Give root up for good, and look like a fresh login of the owner."""
    entry = pwd.getpwuid(owner.uid)
    os.initgroups(owner.name, owner.gid)
    os.setresgid(owner.gid, owner.gid, owner.gid)
    os.setresuid(owner.uid, owner.uid, owner.uid)
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[name]
    os.environ.update(HOME=entry.pw_dir, USER=owner.name, LOGNAME=owner.name)
    os.chdir("/")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)  # a module's standard output carries its result and nothing else


class _Channel:
    """The worker's end of the pipe, and its progress sink. Threads may share it."""

    def __init__(self, descriptor: int) -> None:
        self._stream = os.fdopen(descriptor, "wb")
        self._lock = threading.Lock()

    def emit(self, event: events.Event) -> None:
        """Send an event. When the parent listens no more, that is its business."""
        with contextlib.suppress(BrokenPipeError):
            self.send(json.dumps(event.as_dict()))

    def send(self, line: str) -> None:
        """Send one line of JSON."""
        with self._lock:
            self._stream.write(line.encode() + b"\n")
            self._stream.flush()


@contextlib.contextmanager
def _stop_signals_raise() -> Iterator[None]:
    """Turn the first signal to stop into an exception; further ones do not disturb the cleaning up."""

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in heeded:
            signal.signal(each, _pay_no_heed)
        raise InterruptedJobError(
            "running the job",
            f"it was told to stop ({signal_name(number)}).",
            "Nothing half-done is in use; start it again when you want it.",
            code="interrupted",
        )

    # What is ignored (nohup) stays ignored.
    previous = {each: signal.getsignal(each) for each in _STOP_SIGNALS}
    heeded = [each for each, handler in previous.items() if handler is not signal.SIG_IGN]
    try:
        for each in heeded:
            signal.signal(each, stop)
        yield
    finally:
        for each in heeded:
            signal.signal(each, previous[each])


def _pay_no_heed(_number: int, _frame: FrameType | None) -> None:
    """Unlike SIG_IGN, programs that are started meanwhile do not inherit this."""


@contextlib.contextmanager
def _stop_signals_held() -> Iterator[None]:
    """Keep signals to stop waiting; they strike at the end of the block."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


@contextlib.contextmanager
def _private_files() -> Iterator[None]:
    previous = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(previous)
