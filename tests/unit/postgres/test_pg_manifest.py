# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendering `backup_manifest`. That PostgreSQL writes the very same bytes is in the integration tests."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.pg_manifest import (
    ManifestFile,
    WalRange,
    render,
)

RANGES = [WalRange(2, 0x5000028, 0x5000100), WalRange(1, 0x2_0000_0028, 0x2_0500_0028)]


def file(path: str) -> ManifestFile:
    return ManifestFile(
        path, 5, 1_700_000_000_999_999_999, "SHA256", hashlib.sha256(path.encode("utf-8", "replace")).hexdigest()
    )


def rendered(*paths: str, version: int = 17) -> dict[str, Any]:
    raw = b"".join(render(version, 2**63 + 1, map(file, paths), RANGES))
    body, key, rest = raw.partition(b'"Manifest-Checksum"')
    content: dict[str, Any] = json.loads(raw)
    assert content["Manifest-Checksum"] == hashlib.sha256(body).hexdigest()
    assert (key + rest).endswith(b'"}\n')
    return content


def test_a_file_and_the_wal_it_needs() -> None:
    content = rendered("base/1/1259")
    assert content["Files"] == [
        {
            "Path": "base/1/1259",
            "Size": 5,
            "Last-Modified": "2023-11-14 22:13:20 GMT",
            "Checksum-Algorithm": "SHA256",
            "Checksum": hashlib.sha256(b"base/1/1259").hexdigest(),
        }
    ]
    assert content["WAL-Ranges"] == [
        {"Timeline": 2, "Start-LSN": "0/5000028", "End-LSN": "0/5000100"},
        {"Timeline": 1, "Start-LSN": "2/28", "End-LSN": "2/5000028"},
    ]


@pytest.mark.parametrize("version", [13, 14, 15, 16])
def test_the_format_up_to_16(version: int) -> None:
    content = rendered("PG_VERSION", version=version)
    assert content["PostgreSQL-Backup-Manifest-Version"] == 1
    assert "System-Identifier" not in content


@pytest.mark.parametrize("version", [17, 18])
def test_the_format_from_17(version: int) -> None:
    content = rendered("PG_VERSION", version=version)
    assert content["PostgreSQL-Backup-Manifest-Version"] == 2
    assert content["System-Identifier"] == 2**63 + 1


def test_what_is_never_listed() -> None:
    paths = ["backup_manifest", "pg_wal/000000010000000000000001", "pg_wal/archive_status/x.done"]
    listed = ["pg_walrus", "sub/backup_manifest", "backup_label"]
    assert [entry["Path"] for entry in rendered(*paths, *listed)["Files"]] == listed


@pytest.mark.parametrize("path", ['quo"te', "back\\slash", "new\nline", "tab\t", "bell\a", "del\x7f", "grün/猫/🐘"])
def test_names_that_json_must_escape(path: str) -> None:
    assert rendered(path)["Files"][0]["Path"] == path


@pytest.mark.parametrize("raw", [b"caf\xe9", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\xaf"])
def test_names_that_are_not_utf_8(raw: bytes) -> None:
    (entry,) = rendered(os.fsdecode(raw))["Files"]
    assert entry["Encoded-Path"] == raw.hex()
    assert "Path" not in entry


def test_an_empty_list_is_a_list() -> None:
    assert rendered()["Files"] == []


def test_files_are_taken_one_by_one() -> None:
    taken = []

    def source() -> Iterator[ManifestFile]:
        for number in range(1000):
            taken.append(number)
            yield file(f"base/1/{number}")

    pieces = render(17, 1, source(), RANGES)
    while not taken:
        next(pieces)
    assert taken == [0]
