# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The only place where programs are started.

A program gets a list of arguments (never a shell), an environment that is written down here and
not inherited, and no standard input unless it is given some. Secrets reach it by environment
only, and are blanked out of whatever it complains about. It never outlives us: the kernel kills
it when we die, and its whole process group is killed when we stop waiting for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Union

from .errors import ExternalToolError, PreconditionError
from .sandbox import Sandbox

_PR_SET_PDEATHSIG = 1
_TAIL_LINES = 10
_TAIL_CHARACTERS = 2000

Stream = Union[int, IO[bytes]]  # an open file, or its number


@dataclass(frozen=True)
class Completed:
    """How a program ended and what it said. Undecodable bytes in `stdout` survive as surrogates."""

    returncode: int
    stdout: str
    stderr: str


def signal_name(number: int) -> str:
    """`SIGKILL` rather than 9; real-time signals have no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def parent_death_guard() -> Callable[[], None]:
    """Prepare, before a fork, what the new process calls to be killed when this one dies.

    Everything is loaded here, so that the guard itself is a system call or two and safe to run
    between fork and exec even when other threads hold locks. A change of user clears the guard,
    so it comes after. The kernel watches the *thread* that forks: it must stay until the child ends.
    """
    prctl = ctypes.PyDLL(None).prctl  # PyDLL: no giving up and retaking of the interpreter lock
    parent = os.getpid()

    def guard() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os.kill(os.getpid(), signal.SIGKILL)

    return guard


class Process:
    """A program that goes on beside us."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait(self) -> int:
        """Wait for its end, and end it when something happens meanwhile; its status."""
        try:
            return self._process.wait()
        except BaseException:
            self.kill()
            raise

    def end(self, number: int, patience: float) -> bool:
        """Send a signal and wait for its end; False when that has not come within `patience` seconds."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End it and its process group for good."""
        _kill_group(self._process)


class _HeldSignals:
    """From its making to its release no handler of a signal runs; those that came meanwhile do then.

    A handler that raised before we hold the process would leave it running. To block signals is not enough: the
    kernel gives those of the whole process to a thread that does not block them, and Python runs their handlers in the
    main thread all the same. So there the handlers are exchanged.
    """

    def __init__(self) -> None:
        self.mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        self._came: list[int] = []
        self._handlers: dict[int, Callable[[int, FrameType | None], object]] = {}
        if threading.current_thread() is threading.main_thread():
            for number in signal.valid_signals():
                handler = signal.getsignal(number)
                if callable(handler):
                    self._handlers[number] = handler
                    signal.signal(number, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._came.append(number)

    def release(self) -> None:
        """Everything is as it was before; raises what a handler raises."""
        raised: BaseException | None = None
        restored = False
        while not restored:
            try:
                for number, handler in self._handlers.items():
                    signal.signal(number, handler)
                restored = True
            except BaseException as exc:  # by a handler that is in place again
                raised = exc
        try:
            for number in self._came:  # blocked yet: all of them strike together
                signal.pthread_kill(threading.get_ident(), number)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, self.mask)
        if raised is not None:
            raise raised


class Runner:
    """Starts a program, waits for it, and explains its failure.

    `environment` is added to what every program gets: a `PATH`, a `HOME` and a locale, so that
    messages are in English and nothing depends on who called us, or in which time zone.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir,
            "LC_ALL": "C.UTF-8",
            **(environment or {}),
        }

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        input: str | bytes | None = None,
        cwd: str | Path | None = None,
        timeout: float | None = None,
        check: bool = True,
        attempted: str = "",
        inside: Sandbox | None = None,
    ) -> Completed:
        """Run `argv` to its end.

        `env` adds variables. `secrets` adds variables too, whose values never appear in an error.
        `inside` confines it: status `sandbox.REFUSED` means that this machine does not allow that. After
        `timeout` seconds the program and whatever it started are killed. With `check` a status
        other than 0 is an ExternalToolError (`tool_failed`). `attempted` says in an error what
        all this was for.
        """
        attempted = attempted or f"running {Path(argv[0]).name}"
        with anonymous_file() as stdin, anonymous_file() as stdout, anonymous_file() as stderr:
            if input:
                stdin.write(input.encode() if isinstance(input, str) else input)
                stdin.seek(0)
            signals = _HeldSignals()
            try:
                streams: tuple[Stream, Stream, Stream] = (stdin, stdout, stderr)
                words = {**(env or {}), **(secrets or {})}
                process = self._start(argv, words, cwd, streams, signals.mask, attempted, inside)
            except BaseException:
                signals.release()
                raise
            try:
                signals.release()
                returncode = process.wait(timeout)
            except subprocess.TimeoutExpired:
                _kill_group(process)
                raise ExternalToolError(
                    attempted,
                    f"{Path(argv[0]).name} did not end within {timeout:g} seconds and was killed.",
                    "Find out what it waits for, or allow it more time.",
                    code="tool_timeout",
                    command=shlex.join(argv),
                ) from None
            except BaseException:
                _kill_group(process)
                raise
            completed = Completed(
                returncode, read_back(stdout, "surrogateescape"), read_back(stderr, "backslashreplace")
            )
        if check and returncode != 0:
            complaint = completed.stderr.strip() or completed.stdout
            raise failure(argv, returncode, complaint, attempted, (secrets or {}).values())
        return completed

    def start(
        self,
        argv: Sequence[str],
        *,
        output: Path,
        attempted: str,
        env: Mapping[str, str] | None = None,
        inside: Sandbox | None = None,
    ) -> Process:
        """Start a program that goes on; whatever it says goes to `output`, which is emptied first.

        It dies with this thread's process. The thread that starts it must stay until it ends.
        """
        with anonymous_file() as stdin, output.open("wb") as log:
            output.chmod(0o600)
            return self.start_with(argv, streams=(stdin, log, log), attempted=attempted, env=env, inside=inside)

    def start_with(
        self,
        argv: Sequence[str],
        *,
        streams: tuple[Stream, Stream, Stream],
        attempted: str,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        pass_fds: Sequence[int] = (),
        inside: Sandbox | None = None,
    ) -> Process:
        """Start a program that goes on, with these for input, output and complaints: see `pipes`.

        It dies with this thread's process. The thread that starts it must stay until it ends.
        """
        signals, process = _HeldSignals(), None
        try:
            process = Process(self._start(argv, env or {}, cwd, streams, signals.mask, attempted, inside, pass_fds))
        finally:
            try:
                signals.release()
            except BaseException:
                if process is not None:
                    process.kill()
                raise
        return process

    def _start(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: str | Path | None,
        streams: tuple[Stream, Stream, Stream],
        signal_mask: set[int],
        attempted: str,
        inside: Sandbox | None,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        stdin, stdout, stderr = streams
        guard = parent_death_guard()
        enter = inside.entrance() if inside else None

        def prepare() -> None:
            if enter:
                enter()
            guard()  # afterwards: a change of what the process may do clears it
            signal.pthread_sigmask(signal.SIG_SETMASK, signal_mask)

        try:
            return subprocess.Popen(
                argv,
                env={**self._environment, **env},
                cwd=cwd,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=pass_fds,
                start_new_session=True,  # a group of its own, and no terminal to ask for passwords
                preexec_fn=prepare,
            )
        except OSError as exc:
            if cwd is not None and str(exc.filename) == str(cwd):
                raise PreconditionError(
                    attempted,
                    f"the directory {cwd} cannot be entered: {exc.strerror}.",
                    "Create it, or let this user enter it.",
                    code="directory_missing",
                ) from exc
            raise PreconditionError(
                attempted,
                f"the program {argv[0]} cannot be started: {exc.strerror}.",
                "Install the package that brings it, or add its directory to PATH.",
                code="program_missing",
                program=argv[0],
            ) from exc


def anonymous_file() -> IO[bytes]:
    """A file without a name, in memory where the platform can.

    Files instead of pipes: a server left behind by `pg_ctl` may keep them open for years
    without anybody waiting for their end, and nothing has to be read while the program runs.
    """
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("lifeboat"), "w+b")
    return tempfile.TemporaryFile()


def read_back(stream: IO[bytes], errors: str = "backslashreplace", start: int = 0) -> str:
    """What a program wrote into `stream`, as text."""
    stream.seek(start)
    return stream.read().decode("utf-8", errors)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the program and everything in its process group, and wait for the program's end."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def failure(
    argv: Sequence[str], returncode: int, complaint: str, attempted: str, secrets: Iterable[str]
) -> ExternalToolError:
    """What a program that ended with `returncode` said last, without the secrets."""
    name = Path(argv[0]).name
    ended = f"was killed by {signal_name(-returncode)}" if returncode < 0 else f"failed with status {returncode}"
    complaint = complaint.strip()
    for secret in filter(None, secrets):
        complaint = complaint.replace(secret, "***")
    tail = "\n".join(complaint.splitlines()[-_TAIL_LINES:])[-_TAIL_CHARACTERS:]
    return ExternalToolError(
        attempted,
        f"{name} {ended}: {tail}" if tail else f"{name} {ended} without a message.",
        "Remove the cause that it names, then try again.",
        code="tool_failed",
        command=shlex.join(argv),
        returncode=returncode,
        stderr=tail,
    )
