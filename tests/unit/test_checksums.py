# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's file checksums: whoever computes them, the same, and nobody who computes them wrongly."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import checksums

KNOWN = {b"": "00000000", b"123456789": "839206e3", bytes(32): "aa36918a", b"\xff" * 32: "43aba862"}  # RFC 3720, B.4
SOURCES = {"package": "_from_package", "ISA-L": "_from_isal", "ext2fs": "_from_ext2fs"}


@pytest.fixture(autouse=True)
def forgetful() -> Iterator[None]:
    checksums._crc32c.cache_clear()
    yield
    checksums._crc32c.cache_clear()


def only(monkeypatch: pytest.MonkeyPatch, *kept: str) -> None:
    for name, function in SOURCES.items():
        if name not in kept:
            monkeypatch.setattr(checksums, function, lambda: None)


@pytest.mark.parametrize("source", ["package", "ext2fs"])
def test_every_source_gives_what_postgres_expects(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    only(monkeypatch, source)
    for data, expected in KNOWN.items():
        checksum = checksums.file_checksum()
        checksum.update(data)
        assert (checksum.algorithm, checksum.hexdigest()) == ("CRC32C", expected), source


def test_pieces_of_any_kind_give_the_same_as_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random.Random(5).randbytes(100_000)
    results = set()
    for kept in (["package"], ["ext2fs"], list(SOURCES)):
        with monkeypatch.context() as patch:
            only(patch, *kept)
            checksums._crc32c.cache_clear()
            for kind in (bytes, bytearray, memoryview):
                checksum = checksums.file_checksum()
                for start in range(0, len(data), 7001):
                    checksum.update(kind(data[start : start + 7001]))
                results.add(checksum.hexdigest())
    assert len(results) == 1


def test_a_function_that_computes_something_else_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "_from_package", lambda: lambda state, data: 1)
    assert checksums.file_checksum().hexdigest() == KNOWN[b""]
    only(monkeypatch)
    checksums._crc32c.cache_clear()
    assert checksums.file_checksum().algorithm == "SHA256"
