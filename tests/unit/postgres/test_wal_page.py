# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of a WAL segment's first page, made by hand. Segments of real servers are in the integration tests."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import (
    IntegrityError,
    LifeboatError,
    PreconditionError,
    UnsupportedError,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres import wal_page

SIZE = 16 << 20
NAME = "000000020000000000000005"
IDENTIFIER = 7380000000000000001


def head(**changes: int) -> bytes:
    fields = {
        "magic": 0xD110,
        "flags": 0x0002,
        "timeline": 2,
        "address": 5 * SIZE,
        "remaining": 0,
        "identifier": IDENTIFIER,
        "segment_size": SIZE,
        "page_size": 8192,
    }
    return struct.pack("<HHIQI4xQII", *{**fields, **changes}.values())


def check(data: bytes, name: str = NAME, **changes: Any) -> wal_page.WalPageHeader:
    expected = {"system_identifier": IDENTIFIER, "version": 15, "segment_size": SIZE, **changes}
    return wal_page.check_segment(data, name, **expected)


def code_of(data: bytes, name: str = NAME, **changes: Any) -> str:
    with pytest.raises(LifeboatError) as caught:
        check(data, name, **changes)
    assert name in caught.value.message
    return caught.value.code


def test_a_segment_under_its_own_name_is_good() -> None:
    header = check(head())
    assert (header.version, header.timeline, header.address) == (15, 2, 5 * SIZE)
    assert (header.system_identifier, header.segment_size) == (IDENTIFIER, SIZE)


def test_a_partial_segment_is_judged_by_the_same_name() -> None:
    check(head(), f"{NAME}.partial")
    assert code_of(head(), "000000020000000000000006.partial") == "wal_wrong_name"


def test_a_record_that_goes_on_from_the_page_before_is_fine() -> None:
    check(head(flags=0x0003, remaining=1234))
    check(head(flags=0x000A))


def test_a_new_timelines_first_segment_keeps_the_old_ones_first_page() -> None:
    check(head(timeline=1))


@pytest.mark.parametrize("changes", [{"timeline": 3}, {"timeline": 0}, {"address": 6 * SIZE}, {"address": 0}])
def test_other_content_than_the_name_says(changes: dict[str, int]) -> None:
    assert code_of(head(**changes)) == "wal_wrong_name"


def test_another_clusters_segment() -> None:
    assert code_of(head(identifier=IDENTIFIER + 1)) == "wal_foreign_system"
    assert code_of(head(magic=0xD10D)) == "wal_foreign_system"
    assert code_of(head(segment_size=SIZE * 4, address=0)) == "wal_foreign_system"


@pytest.mark.parametrize(
    "changes",
    [
        {"magic": 0},
        {"magic": 0x10D1},
        {"flags": 0},
        {"flags": 0x0012},
        {"segment_size": 0},
        {"segment_size": SIZE + 1},
        {"page_size": 4096},
        {"address": 5 * SIZE + 8192},
    ],
)
def test_what_does_not_begin_like_a_segment(changes: dict[str, int]) -> None:
    assert code_of(head(**changes)) == "wal_not_a_segment"


@pytest.mark.parametrize("data", [b"", head()[:39], bytes(8192), b"1\t0/3000000\tno recovery target specified\n"])
def test_what_is_something_else(data: bytes) -> None:
    with pytest.raises(IntegrityError) as caught:
        wal_page.parse(data, NAME)
    assert caught.value.code == "wal_not_a_segment"


def test_a_version_to_come_is_unsupported_and_not_damaged() -> None:
    with pytest.raises(UnsupportedError) as caught:
        wal_page.parse(head(magic=0xD1FF), NAME)
    assert caught.value.code == "postgres_version_unsupported"


def test_only_segments_can_be_checked() -> None:
    with pytest.raises(PreconditionError):
        check(head(), "00000002.history")
