# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Index entries as differences: the same bytes come back, and of an index on a number far fewer are stored."""

from __future__ import annotations

import random
import struct

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import differences, sealed
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.keys import EpochKeys
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.repository import Repository
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.sealed import (
    HEADER_BYTES,
    Opener,
    Sealer,
)
from fakes import MemoryStore

PAGE = 8192
ENTRIES = 366
IDENTITY = "what/it/is"


def leaf(first: int, entry_bytes: int = 16, special: int = 8176) -> bytes:
    """A leaf of a b-tree on a number: entries of rows that lie in the numbers' order."""
    upper = special - ENTRIES * entry_bytes
    header = struct.pack("<IIHHHHHHI", 0, 1000 + first, 0, 0, 24 + 4 * ENTRIES, max(upper, 0), special, 0x2004, 0)
    pointers = [(special - 16 * (number + 1)) | 1 << 15 | entry_bytes << 17 for number in range(ENTRIES)]
    rows = [(*divmod(first + number, 61), first + number) for number in reversed(range(ENTRIES))]
    entries = [struct.pack("<HHHHq", 0, block & 0xFFFF, row + 1, 16, number) for block, row, number in rows]
    return (header + struct.pack(f"<{ENTRIES}I", *pointers)).ljust(upper, b"\0") + b"".join(entries) + bytes(16)


def leaves(count: int, **how: int) -> bytes:
    return b"".join(leaf(1000 + number * ENTRIES, **how) for number in range(count))


def sealed_frame(repository: Repository, raw: bytes, *, holds_pages: bool = True) -> tuple[Opener, bytes]:
    sealer = Sealer(repository.keys, "data", IDENTITY, 3, holds_pages=holds_pages)
    _number, frame = sealer.seal(raw)
    return Opener(repository.keys_of, "data", IDENTITY, sealer.header, ("name", "url")), frame


@pytest.mark.parametrize("size", [16, 32, PAGE, 100 * PAGE])
def test_what_was_taken_apart_adds_up_again(size: int) -> None:
    raw = random.Random(size).randbytes(size)
    assert differences.added_up(bytes(differences.taken(raw))) == raw
    assert differences.added_up(bytes(differences.taken(memoryview(bytearray(raw))))) == raw


def test_an_index_on_a_number_is_stored_as_differences(repository: Repository) -> None:
    raw = leaves(40)
    opener, frame = sealed_frame(repository, raw)
    assert frame[0] == sealed.COMPRESSED | sealed.DIFFERENCES
    assert opener.open(0, frame) == (raw, False)
    _opener, plain = sealed_frame(repository, raw, holds_pages=False)
    assert plain[0] == sealed.COMPRESSED
    assert len(frame) * 5 < len(plain)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        leaves(3)[:-1],
        b"x" + leaves(3)[:-1],
        leaves(3, entry_bytes=24),
        leaves(3, special=8192 - 24),
        leaves(2) + bytes(2 * PAGE),
        random.Random(1).randbytes(4 * PAGE),
    ],
    ids=["nothing", "not whole pages", "pages elsewhere", "longer entries", "another index", "half of it", "noise"],
)
def test_everything_else_is_stored_as_it_is(repository: Repository, raw: bytes) -> None:
    opener, frame = sealed_frame(repository, raw)
    assert not frame[0] & sealed.DIFFERENCES
    assert opener.open(0, frame) == (raw, False)


def test_pages_that_do_not_compress_are_stored_as_they_are(repository: Repository) -> None:
    choose = random.Random(1)
    raw = b"".join(leaf(1)[:32] + choose.randbytes(PAGE - 32) for _ignored in range(4))
    opener, frame = sealed_frame(repository, raw)
    assert (frame[0], opener.open(0, frame)) == (0, (raw, False))


def test_differences_of_no_whole_entries_are_an_error(repository: Repository, store: MemoryStore) -> None:
    keys: EpochKeys = repository.keys
    sealer, flags = Sealer(keys, "data", IDENTITY, 3), sealed.DIFFERENCES | sealed.LAST
    frame = sealer._aead.encrypt(bytes(12), bytes(17), sealer.header + bytes([flags]))
    store.objects["object"] = sealer.header + struct.pack(">BI", flags, len(frame)) + frame
    assert len(sealer.header) == HEADER_BYTES
    with expect.failure("object_damaged"):
        list(repository.read_stream("object", "data", IDENTITY))
