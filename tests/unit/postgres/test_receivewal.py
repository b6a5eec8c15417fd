# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a server's commits wait for, as far as a receiver may be among them."""

from __future__ import annotations

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.receivewal import (
    SynchronousSettings,
    hanging_commits,
    is_waited_for,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.receive_settings import parse


@pytest.mark.parametrize(
    ("names", "waited_for"),
    [
        ("", False),
        ("other", False),
        ("*", True),
        ("other, lifeboat_main", True),
        ("LIFEBOAT_MAIN", True),
        ('"lifeboat_main"', True),
        ("FIRST 1 (a, lifeboat_main)", True),
        ("any 2 (a, *)", True),
        ("2(a,lifeboat_main)", True),
        ("ANY 1 (lifeboat_mainly)", False),
    ],
)
def test_who_is_named(names: str, waited_for: bool) -> None:
    assert is_waited_for(names, "lifeboat_main") is waited_for


@pytest.mark.parametrize(
    ("names", "remote_apply", "synchronous", "hangs"),
    [
        ("", True, False, False),
        ("*", False, False, True),
        ("*", False, True, False),
        ("*", True, True, True),
        ("other", True, True, False),
    ],
)
def test_what_would_hang(names: str, remote_apply: bool, synchronous: bool, hangs: bool) -> None:
    spec = parse("main", {"wal_method": "stream", "synchronous": str(synchronous).lower()})
    assert (hanging_commits(SynchronousSettings(names, remote_apply), spec) is not None) is hangs
