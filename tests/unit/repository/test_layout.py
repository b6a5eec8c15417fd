# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names in a repository: what users may choose stays in its place, and folders stay small."""

from __future__ import annotations

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import layout


@pytest.mark.parametrize("name", ["main", "db1-main", "_x", "A.b_c-1", "0", "x" * 128])
def test_usual_names_are_taken(name: str) -> None:
    assert layout.stanza_folder(name) == f"stanzas/{name}/"


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/a", ".hidden", "-x", "a b", "ä", "a\n", "x" * 129])
def test_names_that_could_lead_elsewhere_are_refused(name: str) -> None:
    with expect.failure("name_invalid"):
        layout.stanza_folder(name)
    with expect.failure("name_invalid"):
        layout.manifest("main", name)


@pytest.mark.parametrize(
    ("file_name", "prefix"),
    [
        ("0000000100000002000000FE", "00000001/00000002/0000000100000002000000FE-"),
        ("0000000100000002000000FE.partial", "00000001/00000002/0000000100000002000000FE.partial-"),
        ("0000000100000002000000FE.00000028.backup", "00000001/00000002/0000000100000002000000FE.00000028.backup-"),
        ("00000002.history", "history/00000002.history-"),
    ],
)
def test_wal_is_spread_over_folders_by_timeline_and_number(file_name: str, prefix: str) -> None:
    assert layout.wal_prefix("main", "life", file_name) == f"stanzas/main/wal/life/{prefix}"


def test_packs_are_grouped_by_generation() -> None:
    assert layout.pack("main", "generation", "id") == "stanzas/main/generations/generation/packs/id"
