# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files written past the page cache: the same bytes as by it, whatever their length and the file system."""

from __future__ import annotations

import errno
import mmap
import os
import random
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.new_file import NewFile, WriteBehind

MEBIBYTE = 1 << 20
RANDOM = random.Random(3)
SIZES = [0, 1, 8192, MEBIBYTE - 1, MEBIBYTE, MEBIBYTE + 1, 2 * MEBIBYTE, 2 * MEBIBYTE + 4096, 5 * MEBIBYTE + 4097]


@pytest.fixture(params=["/var/tmp", "/dev/shm"])  # with direct writes, on most machines, and without
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=request.param) as made:
        yield Path(made)


def write(path: Path, data: bytes, piece_bytes: int) -> None:
    with NewFile(path, 0o640, len(data), WriteBehind()) as file:
        for start in range(0, len(data), piece_bytes):
            file.write(data[start : start + piece_bytes])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece_bytes", [700_001, MEBIBYTE, 3 * MEBIBYTE])
def test_what_was_written_is_there(folder: Path, size: int, piece_bytes: int) -> None:
    data = RANDOM.randbytes(size)
    (folder / "file").write_bytes(b"older and longer" * MEBIBYTE)
    write(folder / "file", data, piece_bytes)
    assert (folder / "file").read_bytes() == data
    assert (folder / "file").stat().st_mode & 0o777 == 0o640


def test_one_buffer_serves_many_files(folder: Path) -> None:
    buffer = WriteBehind()
    contents = {f"file{number}": RANDOM.randbytes(size) for number, size in enumerate(SIZES[::-1])}
    for name, data in contents.items():
        with NewFile(folder / name, 0o600, len(data), buffer) as file:
            file.write(data)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents


@pytest.mark.parametrize("refused", [1, 2, 3])
@pytest.mark.parametrize("folder", ["/var/tmp"], indirect=True)
def test_a_file_system_that_promised_too_much_gets_ordinary_writes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    data, calls, really_write = RANDOM.randbytes(5 * MEBIBYTE), 0, os.write

    def refuse_once(handle: int, view: memoryview) -> int:
        nonlocal calls
        calls += 1
        if calls == refused and "direct" in os.fsdecode(os.readlink(f"/proc/self/fd/{handle}")):
            raise OSError(errno.EINVAL, "Invalid argument")
        return really_write(handle, view)

    monkeypatch.setattr(os, "write", refuse_once)
    write(folder / "direct", data, MEBIBYTE)
    assert (folder / "direct").read_bytes() == data
    assert calls > refused


def test_a_failed_write_leaves_no_handle_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_ignored: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(OSError, match="Input/output error"):
        write(folder / "file", bytes(3 * MEBIBYTE), MEBIBYTE)
    assert os.listdir("/proc/self/fd") == before


def aligned(data: bytes) -> memoryview:
    memory = mmap.mmap(-1, len(data))
    memory.write(data)
    return memoryview(memory)


def test_a_failure_behind_is_told_and_the_thread_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the next piece, or when the file is closed: in no case does it seem to be written."""

    def fail(*_ignored: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    before = threading.active_count()
    behind = WriteBehind()
    monkeypatch.setattr(os, "write", fail)
    for pieces in (1, 3):
        with pytest.raises(OSError, match="Input/output error"), NewFile(folder / "f", 0o600, 1 << 30, behind) as file:
            for _number in range(pieces):
                file.write(aligned(bytes(MEBIBYTE)))
    monkeypatch.undo()
    data = RANDOM.randbytes(3 * MEBIBYTE)
    with NewFile(folder / "f", 0o600, 1 << 30, behind) as file:  # and nothing is left of it for the next file
        for start in range(0, len(data), MEBIBYTE):
            file.write(aligned(data[start : start + MEBIBYTE]))
    assert (folder / "f").read_bytes() == data
    behind.end()
    assert threading.active_count() == before
