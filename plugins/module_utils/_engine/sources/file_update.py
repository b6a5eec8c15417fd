# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bringing a file that is there already to the backup's content, writing only what differs.

What is equal is found by content alone: size and time of a file in a damaged directory prove
nothing.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .. import durable
from ..checksums import FileChecksum
from ..repository.block_map import DIGEST_BYTES, PAGE_BYTES, changed_pages, ranges_of
from ..repository.manifest import FileEntry
from .file_reader import FileReader, MappedFile
from .tally import ByteTally


def update_file(
    path: Path, entry: FileEntry, reader: FileReader, window: memoryview, checksum: FileChecksum, tally: ByteTally
) -> bool:
    """Whether the file now has the backup's content. False when it must be written anew.

    `window` is memory to read into, WINDOW_BYTES of it, that the next file uses again.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    except OSError:
        path.unlink()  # a link, or a file without permissions: not what a backup holds
        return False
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            return False
        if entry.block_map:
            if _update_pages(handle, entry, MappedFile(reader, entry), reader, window, checksum, tally):
                durable.begin_writing_out(handle)
        elif not _is_equal(handle, facts.st_size, entry, reader, window, checksum):
            return False
        else:
            tally.add(entry.size)
        os.fchmod(handle, entry.mode)
    finally:
        os.close(handle)
    return True


def _is_equal(
    handle: int, size: int, entry: FileEntry, reader: FileReader, window: memoryview, checksum: FileChecksum
) -> bool:
    if size != entry.size:
        return False
    digest = reader.digester.file()
    position = 0
    while data := _next(handle, window, position, size):
        digest.update(data)
        checksum.update(data)
        position += len(data)
    return bool(digest.hexdigest() == entry.digest)


def _update_pages(
    handle: int,
    entry: FileEntry,
    mapped: MappedFile,
    reader: FileReader,
    window: memoryview,
    checksum: FileChecksum,
    tally: ByteTally,
) -> bool:
    """Compare page by page and fetch those that differ. Whether there were any."""
    os.ftruncate(handle, entry.size)  # what is missing now reads as zeros, and differs
    wrote = False
    position = 0
    while data := _next(handle, window, position, entry.size):
        first = position // PAGE_BYTES
        here = reader.digester.pages(data)
        wanted = mapped.block_map.digests[first * DIGEST_BYTES : first * DIGEST_BYTES + len(here)]
        changed = changed_pages(here, wanted)
        if len(changed):
            beyond = max(0, (int(changed[-1]) + 1) * PAGE_BYTES - len(data))  # what a short last page lacks
            fetched = reader.window()[: len(changed) * PAGE_BYTES - beyond]
            mapped.read(changed + first, fetched)
            for start, end in ranges_of(changed):
                part = data[start * PAGE_BYTES : end * PAGE_BYTES]
                part[:], fetched = fetched[: len(part)], fetched[len(part) :]
                _write_at(handle, part, position + start * PAGE_BYTES)
            wrote = True
        checksum.update(data)
        position += len(data)
        tally.add(len(data))
    return wrote


def _write_at(handle: int, data: memoryview, position: int) -> None:
    """All of it: a disk that becomes full takes a part first, and says so only the next time."""
    while data:
        count = os.pwrite(handle, data, position)
        data, position = data[count:], position + count


def _next(handle: int, window: memoryview, position: int, size: int) -> memoryview:
    """The next bytes of a file of this size: as many as the window holds, fewer only at the file's end."""
    wanted = window[: min(len(window), size - position)]
    filled = 0
    while filled < len(wanted) and (count := os.preadv(handle, [wanted[filled:]], position + filled)):
        filled += count
    return wanted[:filled]
