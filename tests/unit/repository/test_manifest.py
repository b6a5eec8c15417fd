# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests: what is written in lines comes back, whatever the names, and a newer format is refused."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import manifest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import (
    Chunk,
    DirectoryEntry,
    Entry,
    FileEntry,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.packs import PlacedFrame
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.sealed import Frame
from made import header, set_header

ONE, TWO = PlacedFrame("a" * 32, Frame(0, 41, 1000)), PlacedFrame("b" * 32, Frame(7, 12345, 1 << 20))
NAMES = ["base/1/1259", "with space", "with\nline\rbreaks", 'quote " and \\', "grüße", os.fsdecode(b"latin-\xff\xe4")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "entry",
    [
        DirectoryEntry("", 0o700),
        FileEntry("", 0, 0, 0o600, digest="d"),
        FileEntry("", 3, 1_600_000_000_123_456_789, 0o640, "config", "d", (Chunk(ONE, 5, 3),)),
        FileEntry("", 9, -1, 0o600, digest="d", chunks=(Chunk(TWO, 0, 3), Chunk(ONE, 3, 3), Chunk(TWO, 6, 3))),
        FileEntry("", 1 << 30, 1, 0o600, block_map=(ONE, TWO)),
    ],
    ids=["directory", "empty file", "configuration", "file in two packs", "file with a map"],
)
def test_an_entry_comes_back_from_its_line(entry: Entry, name: str) -> None:
    entry = replace(entry, path=name)
    line = manifest.render_entry(entry)
    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    assert manifest.parse_entry(line) == entry


def test_a_header_comes_back_from_its_line() -> None:
    full = header(
        tablespaces={"16385": os.fsdecode(b"/srv/\xff")}, annotations={"ticket": "ü\n"}, parent="the one before"
    )
    assert manifest.parse_header(manifest.render_header(full)) == full


def test_a_header_of_another_kind_comes_back_and_is_no_physical_one() -> None:
    one = set_header("shop", "ü'\n", annotations={"ticket": "ü"})
    parsed = manifest.parse_header(manifest.render_header(one))
    assert parsed == one
    assert not isinstance(parsed, manifest.Header)
    assert json.loads(manifest.render_header(one))["format"] > manifest.FORMAT, "older readers refuse it"


def test_what_a_newer_version_adds_to_a_header_is_left_aside() -> None:
    line = json.dumps({**json.loads(manifest.render_header(header())), "added": "later"}).encode()
    assert manifest.parse_header(line) == header()


def test_a_newer_format_is_refused_before_anything_else_is_understood() -> None:
    line = json.dumps({"format": manifest.SET_FORMAT + 1, "backup_id": "of tomorrow", "unheard": "of"}).encode()
    with expect.failure("format_too_new") as failure:
        manifest.parse_header(line)
    assert "of tomorrow" in failure.value.message


@pytest.mark.parametrize("text", [b"", b"one\n", b"one\ntwo\nthree\n", b"\n\n", b"no end"])
def test_lines_do_not_depend_on_how_the_bytes_arrive(text: bytes) -> None:
    whole = text.split(b"\n")[: -1 if text.endswith(b"\n") or not text else None]
    for size in range(1, len(text) + 2):
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        assert list(manifest.lines(pieces)) == list(manifest.lines([b"", *pieces, b""])) == whole
