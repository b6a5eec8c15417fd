# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs whose input and output stream through us, in bounded memory.

What such a program writes is ours only once `finish()` has said that it ended well: a dump that
broke off looks like a shorter dump. And input that could not be made to its end is never closed
as if it had ended: the program is killed instead, before it takes a part for the whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Optional, Union

from .errors import ExternalToolError
from .process import Process, Runner, anonymous_file, failure, read_back
from .sandbox import Sandbox

_F_SETPIPE_SZ = 1031  # fcntl names it since Python 3.10
_PIPE_SIZE = 1 << 20
_PIECE = 1 << 18
_COMPLAINT = 1 << 16  # a restore may complain of every row

# What a program may be given to read at once: nothing, an open file by its number, or pieces.
Feed = Optional[Union[int, Iterable[bytes]]]


class _Written:
    """The mark that input will be written piece by piece."""


WRITTEN = _Written()


class PipedProcess:
    """A program that reads what we write, writes what we read, or both.

    Leaving the `with` block without `finish()` kills it, so that nothing is left running.
    """

    def __init__(
        self,
        process: Process,
        argv: Sequence[str],
        stdin: int | None,
        stdout: int | None,
        stderr: IO[bytes],
        secrets: Sequence[str],
        attempted: str,
        partial: bool = False,
    ) -> None:
        self._partial = partial
        self._process = process
        self._argv = argv
        self._stdin = stdin
        self._stdout = stdout
        self._stderr = stderr
        self._secrets = secrets
        self._attempted = attempted
        self._feeder: threading.Thread | None = None
        self._feeding_error: BaseException | None = None
        self._stopped_reading = False
        self._ended = False

    def __enter__(self) -> PipedProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def read(self, size: int = _PIECE) -> bytes:
        """Up to `size` bytes of its output as soon as there are some; nothing at the end. Then call `finish()`."""
        return b"" if self._stdout is None else os.read(self._stdout, size)

    def write(self, data: bytes) -> None:
        """Give it more to read. That it does not want any more is an error that says why."""
        view = memoryview(data)
        try:
            while view and self._stdin is not None:
                view = view[os.write(self._stdin, view) :]
        except BrokenPipeError:
            self._stopped_reading = True
            self.finish()

    def close_input(self) -> None:
        """There is nothing more to read for it."""
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None

    def finish(self) -> None:
        """End its input, wait for its end, and raise when it did not end well.

        Output that was not read is dropped: the program sees a closed pipe.
        """
        if self._ended:
            return
        if self._feeder is None:
            self.close_input()
        self._close_output()
        returncode = self._process.wait()
        complaint = self._complaint() if returncode else ""
        self._end()
        if self._feeding_error is not None:
            raise self._feeding_error
        if returncode != 0:
            raise failure(self._argv, returncode, complaint, self._attempted, self._secrets)
        if self._stopped_reading and not self._partial:
            name = Path(self._argv[0]).name
            raise ExternalToolError(
                self._attempted,
                f"{name} ended without having read everything that it was given.",
                "Find out what made it end early, then try again.",
                code="tool_stopped_reading",
                program=name,
            )

    def kill(self) -> None:
        """End it for good, whatever it does; nothing happens when it has ended."""
        if self._ended:
            return
        self._process.kill()
        self._close_output()
        self._end()

    def _complaint(self) -> str:
        said = self._stderr.seek(0, os.SEEK_END)
        return read_back(self._stderr, start=max(0, said - _COMPLAINT))

    def _close_output(self) -> None:
        if self._stdout is not None:
            os.close(self._stdout)
            self._stdout = None

    def _end(self) -> None:
        if self._feeder is not None:
            self._feeder.join()  # the program is gone, so the next write of it fails at once
        self.close_input()
        self._stderr.close()
        self._ended = True

    def _feed(self, pieces: Iterable[bytes]) -> None:
        """Write everything, from a thread of its own, so that the output can be read meanwhile."""
        try:
            for piece in pieces:
                view = memoryview(piece)
                while view and self._stdin is not None:
                    view = view[os.write(self._stdin, view) :]
        except BrokenPipeError:
            self._stopped_reading = True
        except BaseException as exc:
            self._feeding_error = exc
            self._process.kill()
        finally:
            self.close_input()

    def feed(self, pieces: Iterable[bytes]) -> None:
        """Begin to write `pieces`, beside what we do."""
        self._feeder = threading.Thread(target=self._feed, args=(pieces,), name="lifeboat-feed", daemon=True)
        self._feeder.start()


def start(
    runner: Runner,
    argv: Sequence[str],
    *,
    attempted: str,
    stdin: Feed | _Written = None,
    output: bool = True,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    hidden: Sequence[str] = (),
    cwd: str | Path | None = None,
    pass_fds: Sequence[int] = (),
    partial: bool = False,
    inside: Sandbox | None = None,
) -> PipedProcess:
    """Start `argv`. The thread that calls this must stay until the program has ended.

    `stdin` is nothing, an open file's number (the program reads it itself), pieces that are written
    to it while its output is read, or `WRITTEN`: then `write()` gives it what it reads. With
    `output` what it says is for `read()`, otherwise it is dropped. `secrets` are variables and
    `hidden` are words; neither appears in an error. `pass_fds` stay open in the program.
    With `partial` it may end well without having read everything.
    """
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        stderr = ours.enter_context(anonymous_file())
        to_read: int | None = None
        to_write: int | None = None
        child_out: int | IO[bytes]
        child_in: int | IO[bytes]
        if output:
            to_read, child_out = _pipe(ours, theirs)
        else:
            child_out = theirs.enter_context(open(os.devnull, "wb"))
        if stdin is None:
            child_in = theirs.enter_context(open(os.devnull, "rb"))
        elif isinstance(stdin, int):
            child_in = stdin
        else:
            child_in, to_write = _pipe(theirs, ours)
        process = runner.start_with(
            argv,
            streams=(child_in, child_out, stderr),
            env={**(env or {}), **(secrets or {})},
            cwd=cwd,
            pass_fds=pass_fds,
            attempted=attempted,
            inside=inside,
        )
        ours.pop_all()
    words = [*(secrets or {}).values(), *hidden]
    piped = PipedProcess(process, argv, to_write, to_read, stderr, words, attempted, partial)
    if stdin is not None and not isinstance(stdin, (int, _Written)):
        piped.feed(stdin)
    return piped


def _pipe(reading: contextlib.ExitStack, writing: contextlib.ExitStack) -> tuple[int, int]:
    """A pipe, each end of which is closed by its stack."""
    reader, writer = os.pipe()
    reading.callback(os.close, reader)
    writing.callback(os.close, writer)
    with contextlib.suppress(OSError):  # a smaller one is slower, nothing else
        fcntl.fcntl(writer, _F_SETPIPE_SZ, _PIPE_SIZE)
    return reader, writer
