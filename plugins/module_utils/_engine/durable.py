# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are still there, whole, after the power fails.

One recipe everywhere: write a temporary file beside the target, fsync it, rename it over the
target, fsync the directory. A reader sees the old content or the new one, never a part.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

_SYNC_FILE_RANGE_WRITE = 2  # from Linux's headers


def fsync_directory(path: Path) -> None:
    """Make names created, renamed or removed in `path` durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_files(paths: Iterable[Path], roots: Iterable[Path]) -> None:
    """Make many files below `roots` durable, much faster than one after another.

    First each file system writes out everything it holds back, in the order that suits it. After
    that syncing a file costs next to nothing, and is done all the same: not every kernel tells of
    a failed write in any other way.
    """
    syncfs = ctypes.CDLL(None).syncfs
    for root in roots:
        handle = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            syncfs(handle)
        finally:
            os.close(handle)
    for path in paths:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def begin_writing_out(handle: int) -> None:
    """Have the kernel begin to write a file's changes to disk, without waiting: syncing it later takes less time.

    A mere hint: what makes the file durable is syncing it, and that is where a failed write is told.
    """
    with contextlib.suppress(AttributeError):  # a C library without it
        ctypes.CDLL(None).sync_file_range(handle, ctypes.c_int64(0), ctypes.c_int64(0), _SYNC_FILE_RANGE_WRITE)


def make_directories(path: Path, mode: int) -> None:
    """Create `path` and missing parents, each with `mode`, each durable in its parent."""
    missing = []
    current = path
    while not current.exists():
        missing.append(current)
        current = current.parent
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):  # somebody else was faster: as good
            directory.mkdir(mode=mode)
            directory.chmod(mode)  # the umask must not decide who can use a program or a configuration
        fsync_directory(directory.parent)


def temporary_beside(path: Path) -> Path:
    """A name for a temporary file in the target's directory; hidden, so listings leave it out."""
    return path.parent / f".{path.name}.{secrets.token_hex(6)}.tmp"


def write_file(path: Path, data: bytes, mode: int, *, replace: bool = True) -> None:
    """Replace `path` by `data`, atomically and durably. Without `replace` it must not exist yet."""
    write_pieces(path, [data], mode, replace=replace)


def write_pieces(path: Path, pieces: Iterable[bytes], mode: int, *, replace: bool = True) -> None:
    """The same with data that comes in pieces. When they end with an error, `path` stays as it was."""
    temporary = temporary_beside(path)
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(stream.fileno(), mode)  # the umask must not decide over a key file's mode
            for piece in pieces:
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
        if replace:
            temporary.replace(path)
        else:
            os.link(temporary, path)
            temporary.unlink()
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    fsync_directory(path.parent)
