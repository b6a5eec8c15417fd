# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Timeline history files are read as PostgreSQL reads them."""

from __future__ import annotations

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.timelines import Fork, parse_history


def test_every_line_is_a_fork() -> None:
    content = b"1\t0/3000148\tno recovery target specified\n\n# a remark\n3\t1/5000000\tbefore 2026-01-01 00:00:00+00\n"
    assert parse_history("00000004.history", content) == [Fork(1, 0x3000148), Fork(3, (1 << 32) + 0x5000000)]
    assert parse_history("00000002.history", b"") == []


@pytest.mark.parametrize("line", [b"one\t0/3000148", b"1", b"1\tnowhere", b"\xff\xfe"])
def test_anything_else_is_refused_with_its_name(line: bytes) -> None:
    with expect.failure("timeline_history_unreadable") as failure:
        parse_history("00000002.history", b"1\t0/3000148\tfine\n" + line)
    assert "00000002.history" in failure.value.message
