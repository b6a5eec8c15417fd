# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tar archives as they come: whatever the pieces, every member and every byte, or an error."""

from __future__ import annotations

import random
import tarfile

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.tar_stream import (
    BLOCK_BYTES,
    Member,
    MemberKind,
    TarReader,
)
from made_archives import archive, pieces

RANDOM = random.Random(2)
SIZES = (0, 1, 511, 512, 513, 8192, 100_000)
END = bytes(2 * BLOCK_BYTES)


def read(data: bytes, longest: int = 0) -> list[tuple[Member, bytes]]:
    reader = TarReader(pieces(data, longest), "testing")
    return [(member, b"".join(reader.content())) for member in reader.members()]


FILES = [(f"base/1/{number}", RANDOM.randbytes(size), None) for number, size in enumerate(SIZES)]


@pytest.mark.parametrize("longest", [0, 1, 7, 512, 600, 50_000])
@pytest.mark.parametrize("end", [b"", END, END * 10], ids=["no end", "two blocks", "more"])
def test_files_of_all_sizes_in_all_pieces(longest: int, end: bytes) -> None:
    if longest == 1 and end:
        longest = 2  # enough of single bytes
    found = read(archive(*FILES) + end, longest)
    assert [(member.name, content, None) for member, content in found] == FILES
    assert {(member.kind, member.mode, member.mtime) for member, _content in found} == {
        (MemberKind.FILE, 0o640, 1_700_000_000)
    }
    assert [member.size for member, _content in found] == list(SIZES)


def test_content_that_nobody_reads_is_passed_over() -> None:
    reader = TarReader(pieces(archive(*FILES), 700), "testing")
    assert [member.name for member in reader.members()] == [name for name, _content, _target in FILES]
    reader = TarReader(pieces(archive(*FILES), 700), "testing")
    seen = []
    for member in reader.members():
        seen.append(member.name)
        next(reader.content(), None)  # a part of it
    assert len(seen) == len(FILES)


def test_directories_and_links() -> None:
    found = read(archive(("pg_tblspc", None, None), ("pg_tblspc/16384", None, "/srv/ts"), ("x", b"y", None)))
    assert [(member.kind, member.name, member.target) for member, _content in found] == [
        (MemberKind.DIRECTORY, "pg_tblspc", ""),
        (MemberKind.LINK, "pg_tblspc/16384", "/srv/ts"),
        (MemberKind.FILE, "x", ""),
    ]


def test_a_directory_as_postgresql_writes_it_has_no_slash_here() -> None:
    assert [member.name for member, _content in read(archive(("base/", None, None)))] == ["base"]


def test_a_long_name_in_two_parts() -> None:
    name = "d" * 90 + "/" + "f" * 60
    assert [member.name for member, _content in read(archive((name, b"x", None)))] == [name]


def test_a_name_that_is_no_utf_8_survives() -> None:
    data = bytearray(archive(("abc", b"x", None)))
    data[1] = 0xFF
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + 8 * 32 + sum(data[156:512]))
    assert [member.name for member, _content in read(bytes(data))] == ["a\udcffc"]


def test_a_size_beyond_octal_digits() -> None:
    data = bytearray(archive(("large", b"", None)))
    data[124:136] = (0x80 << 88 | 20 << 30).to_bytes(12, "big")
    data[148:156] = b"%06o\0 " % (sum(data[:148]) + 8 * 32 + sum(data[156:512]))
    reader = TarReader(pieces(bytes(data)), "testing")
    assert next(reader.members()).size == 20 << 30


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_extensions_are_refused_and_not_guessed_at(format: int) -> None:
    with expect.failure("tar_member_unsupported"):
        read(archive(("n" * 300, b"x", None), format=format))


@pytest.mark.parametrize("left", [1, 511, 513, 600, 1023, 1024 + 511])
def test_an_archive_that_is_cut_short_is_an_error(left: int) -> None:
    data = archive(("a", b"x" * 600, None), ("b", b"y", None))
    with expect.failure("tar_stream_damaged"):
        read(data[:left], 100)


def test_one_that_ends_after_a_member_is_whole() -> None:
    data = archive(("a", b"x" * 600, None), ("b", b"y", None))
    assert len(read(data[: 512 + 1024])) == 1


@pytest.mark.parametrize("at", [0, 100, 124, 148, 156, 257, 511])
def test_a_damaged_header_is_an_error_wherever_it_is(at: int) -> None:
    data = bytearray(archive(("a", b"x" * 600, None), ("b", b"y", None)))
    data[512 + 1024 + at] ^= 0x01
    with expect.failure("tar_stream_damaged"):
        read(bytes(data))


def test_nothing_comes_after_the_end() -> None:
    with expect.failure("tar_stream_damaged"):
        read(archive(("a", b"x", None)) + END + archive(("b", b"y", None)))
