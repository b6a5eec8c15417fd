# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How users name files of a backup."""

from __future__ import annotations

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore.path_patterns import PathPattern


@pytest.mark.parametrize(
    ("pattern", "meant", "not_meant"),
    [
        ("base/1/1259", ["base/1/1259"], ["base/1/12590", "base/1/1259_vm", "x/base/1/1259"]),
        ("base/1", ["base/1/1259", "base/1/x/y"], ["base/10/1259"]),
        ("base/1/", ["base/1/1259"], ["base/10/1259"]),
        ("./global", ["global/1260"], ["base/global"]),
        ("base/*/1259*", ["base/1/1259", "base/16384/1259_vm"], ["base/1/2/1259"]),
        ("*.conf", ["pg_hba.conf"], ["conf.d/a.conf", "pg_hbaXconf"]),
        ("**/*.conf", ["pg_hba.conf", "conf.d/a.conf", "a/b/c.conf"], ["pg_hba.conf2"]),
        ("pg_tblspc/**", ["pg_tblspc/1/PG_15/2/3"], ["pg_tblspcx/1"]),
        ("base/1/125?", ["base/1/1259"], ["base/1/1259_vm", "base/1/125"]),
        ("base/1/125[7-9]", ["base/1/1258"], ["base/1/1256"]),
        ("base/1/125[!9]", ["base/1/1258"], ["base/1/1259", "base/1/125/"]),
        ("a[b", ["a[b"], ["ab"]),
    ],
)
def test_what_a_pattern_means(pattern: str, meant: list[str], not_meant: list[str]) -> None:
    parsed = PathPattern(pattern)
    assert [path for path in meant if not parsed.matches(path)] == []
    assert [path for path in not_meant if parsed.matches(path)] == []


@pytest.mark.parametrize("text", ["", "/", "/etc/passwd", "..", "base/../../etc", "a[z-a]"])
def test_what_is_no_path_below_the_data_directory(text: str) -> None:
    with expect.failure("path_invalid"):
        PathPattern(text)
