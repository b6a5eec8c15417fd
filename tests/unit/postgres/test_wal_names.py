# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LSNs and WAL file names. What the server says of the same ones is in the integration tests."""

from __future__ import annotations

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import PreconditionError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres import wal_names
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.wal_names import WalFileKind

MIB = 1 << 20
GIB = 1 << 30
SIZES = [MIB << shift for shift in range(11)]


@pytest.mark.parametrize(
    ("text", "lsn"),
    [("0/0", 0), ("0/16B3748", 0x16B3748), ("1/0", 1 << 32), ("FFFFFFFF/FFFFFFFF", (1 << 64) - 1)],
)
def test_lsns_are_read_and_written(text: str, lsn: int) -> None:
    assert wal_names.parse_lsn(text) == lsn
    assert wal_names.format_lsn(lsn) == text


def test_small_letters_are_read_too() -> None:
    assert wal_names.parse_lsn("a/b") == 0xA0000000B


@pytest.mark.parametrize("text", ["", "0", "/", "0/", "0/G", "0/123456789", "0/1/2", " 0/1", "0/1\n", "-1/0", "٠/٠"])
def test_what_is_no_lsn_is_refused(text: str) -> None:
    with pytest.raises(PreconditionError) as caught:
        wal_names.parse_lsn(text)
    assert caught.value.code == "lsn_invalid"


@pytest.mark.parametrize(
    ("lsn", "size", "name"),
    [
        (0x16B3748, 16 * MIB, "000000010000000000000001"),
        (0xFFFFFFFF, 16 * MIB, "0000000100000000000000FF"),
        (0x100000000, 16 * MIB, "000000010000000100000000"),
        (0xFFFFFFFF, MIB, "000000010000000000000FFF"),
        (0x7FFFFFFFF, GIB, "000000010000000700000003"),
    ],
)
def test_a_segment_has_the_servers_name(lsn: int, size: int, name: str) -> None:
    segment = wal_names.segment_of(lsn, 1, size)
    assert segment.name == name
    assert segment.start_lsn <= lsn < segment.start_lsn + size
    assert wal_names.parse_segment_name(name, size) == segment


@pytest.mark.parametrize("size", SIZES)
def test_names_and_numbers_agree_around_each_4_gib(size: int) -> None:
    for number in range((1 << 32) // size - 2, (1 << 32) // size + 3):
        segment = wal_names.WalSegment(0xABCDEF01, number, size)
        assert wal_names.parse_segment_name(segment.name, size) == segment
        assert wal_names.segment_of(segment.start_lsn + size - 1, 0xABCDEF01, size) == segment


@pytest.mark.parametrize("name", ["00000001000000000000000G", "0000000100000000000000FF1", "00000002.history", ""])
def test_what_names_no_segment_is_refused(name: str) -> None:
    with pytest.raises(PreconditionError) as caught:
        wal_names.parse_segment_name(name, 16 * MIB)
    assert caught.value.code == "wal_name_invalid"


def test_a_name_that_this_segment_size_does_not_have_is_refused() -> None:
    assert wal_names.parse_segment_name("000000010000000000000100", MIB).number == 0x100
    with pytest.raises(PreconditionError):
        wal_names.parse_segment_name("000000010000000000000100", 16 * MIB)


@pytest.mark.parametrize(
    ("start", "stop", "numbers"),
    [
        (16 * MIB, 16 * MIB, []),
        (16 * MIB, 16 * MIB + 1, [1]),
        (16 * MIB, 32 * MIB, [1]),  # the stop is the next segment's first byte: nothing of it is needed
        (16 * MIB, 32 * MIB + 1, [1, 2]),
        (32 * MIB - 1, 32 * MIB, [1]),
        (16 * MIB + 40, 48 * MIB + 40, [1, 2, 3]),
        (17 * MIB, 17 * MIB, [1]),
        (40 * MIB, 20 * MIB, []),
    ],
)
def test_segments_between_two_positions(start: int, stop: int, numbers: list[int]) -> None:
    segments = list(wal_names.segments_between(start, stop, 7, 16 * MIB))
    assert [segment.number for segment in segments] == numbers
    assert all(segment.timeline == 7 for segment in segments)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("000000010000000000000001", WalFileKind.SEGMENT),
        ("0000000100000000000000FF.partial", WalFileKind.PARTIAL),
        ("00000002.history", WalFileKind.HISTORY),
        ("000000010000000000000003.00000028.backup", WalFileKind.BACKUP_HISTORY),
        ("00000001000000000000000a", None),
        ("000000010000000000000001.gz", None),
        ("000000010000000000000001.00000028.backup.done", None),
        ("000000010000000000000001.backup", None),
        ("000000010000000000000001.partial.ready", None),
        ("RECOVERYXLOG", None),
        ("xlogtemp.123", None),
        ("../000000010000000000000001", None),
        ("000000010000000000000001\n", None),
        ("", None),
    ],
)
def test_files_are_told_apart(name: str, kind: WalFileKind | None) -> None:
    assert wal_names.classify(name) is kind
    assert wal_names.is_wal_file_name(name) is (kind is not None)


def test_every_wal_file_has_a_timeline() -> None:
    for rest in ("0000000000000001", "0000000000000001.partial", "0000000000000001.00000028.backup", ".history"):
        assert wal_names.timeline_of(f"0000001A{rest}") == 0x1A
    assert wal_names.history_name(0x1A) == "0000001A.history"
    with pytest.raises(PreconditionError):
        wal_names.timeline_of("RECOVERYXLOG")


def test_only_the_servers_segment_sizes_are_sizes() -> None:
    assert all(wal_names.is_segment_size(size) for size in SIZES)
    assert not any(wal_names.is_segment_size(size) for size in (0, -MIB, MIB // 2, 3 * MIB, 2 * GIB, MIB + 1))
