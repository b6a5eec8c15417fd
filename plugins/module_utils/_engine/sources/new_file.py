# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing new files past the page cache.

A restore writes more than fits into memory. By way of the page cache that evicts what other
programs on the host need, and in the end everything must reach the disk all the same, in one storm. So
large files are written directly (O_DIRECT), where the file system can; small ones, whose metadata
costs more than their bytes, as usual. A direct write takes as long as the disk does, so it goes on
in a thread of its own while the worker puts the next bytes together. See docs/decisions/0006.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from ..repository.compression import Buffer

_BUFFER_BYTES = 2 << 20
_ALIGNMENT = 4096  # of memory, place and length: enough for every disk there is
_WORTH_IT = 1 << 20


class WriteBehind:
    """One worker's direct writes: one at a time in a thread, and memory for what is not aligned by itself."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, _BUFFER_BYTES)  # begins at a page of memory, as direct writes demand
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        self._busy = False
        self._thread: threading.Thread | None = None

    def begin(self, task: Callable[[], None]) -> None:
        """Let the thread do it, when it has done what it had; a failure of that is raised here."""
        self.wait()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True)
            self._thread.start()
        self._busy = True
        self._tasks.put(task)

    def wait(self) -> None:
        """Until the thread has done what it had; its failure is raised here."""
        if self._busy:
            error = self._results.get()
            self._busy = False
            if error is not None:
                raise error

    def end(self) -> None:
        """No more will come."""
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception as exc:
                self._results.put(exc)
            else:
                self._results.put(None)


class NewFile:
    """One new file, written from its first byte to its last. Use it as a context manager."""

    def __init__(self, path: Path, mode: int, size: int, behind: WriteBehind) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        self._behind = behind
        self._filled = 0
        self._direct = False
        try:
            os.fchmod(self._handle, mode)
            if size >= _WORTH_IT:
                self._direct = self._go_direct()
        except BaseException:
            os.close(self._handle)
            raise

    def write(self, data: Buffer) -> None:
        """Append bytes. Their memory must stay as it is until the next call has returned, or the file is closed."""
        view = memoryview(data)
        if self._direct and not self._filled and _is_aligned(view):
            self._behind.begin(lambda: self._write_all(view))
            return
        self._behind.wait()
        if not self._direct:
            self._write_all(view)
            return
        while view:
            part = view[: _BUFFER_BYTES - self._filled]
            self._behind.memory[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            view = view[len(part) :]
            if self._filled == _BUFFER_BYTES:
                self._flush()

    def _go_direct(self) -> bool:
        try:
            fcntl.fcntl(self._handle, fcntl.F_SETFL, os.O_DIRECT)
        except OSError:  # a file system without, such as tmpfs
            return False
        return True

    def _go_by_cache(self) -> None:
        fcntl.fcntl(self._handle, fcntl.F_SETFL, 0)
        self._direct = False

    def _flush(self) -> None:
        """Write what the buffer holds; the file's end, which need not be aligned, by the cache."""
        with memoryview(self._behind.memory) as memory:
            end = self._filled
            aligned = end // _ALIGNMENT * _ALIGNMENT
            with memory[:aligned] as most, memory[aligned:end] as rest:
                self._write_all(most)
                if rest:
                    if self._direct:
                        self._go_by_cache()
                    self._write_all(rest)
        self._filled = 0

    def _write_all(self, view: memoryview) -> None:
        start = 0
        while start < len(view):
            try:
                start += os.write(self._handle, view[start:])
            except OSError as exc:
                if exc.errno != errno.EINVAL or not self._direct:
                    raise
                self._go_by_cache()  # it promised more than it can, or a short write has left us between blocks

    def __enter__(self) -> NewFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._behind.wait()
                if self._filled:
                    self._flush()
            else:
                with contextlib.suppress(OSError):  # there is an error already
                    self._behind.wait()
        finally:
            os.close(self._handle)


def _is_aligned(view: memoryview) -> bool:
    """Whether memory can be written directly as it is."""
    if view.readonly or not len(view) or len(view) % _ALIGNMENT:  # the address of constant bytes is not told
        return False
    return ctypes.addressof(ctypes.c_char.from_buffer(view)) % _ALIGNMENT == 0
