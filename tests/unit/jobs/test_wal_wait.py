# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for WAL: a word soon, an error in the end, and neither when it comes."""

from __future__ import annotations

import expect
import made
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.wal.wait import wait_for_segments
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Incarnation, Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.wal import WalArchive
from fakes import SteppedClock
from made_wal import name_of

NAMES = [name_of(5), name_of(6)]


@pytest.fixture
def archive(stanza: Stanza, life: Incarnation) -> WalArchive:
    return WalArchive(stanza, life)


def test_who_waits_is_told_once_and_long_before_the_end(archive: WalArchive) -> None:
    clock, said = SteppedClock(), list[tuple[str, float]]()
    archive.store(NAMES[0], bytes(made.SEGMENT_BYTES))
    began = clock.monotonic()
    with expect.failure("wal_not_archived"):
        wait_for_segments(
            archive, NAMES, lambda: "why", clock, 300, lambda name: said.append((name, clock.monotonic() - began))
        )
    ((name, after),) = said
    assert name == NAMES[1] and 5 <= after <= 10
    assert clock.monotonic() - began >= 300


def test_nothing_is_said_when_it_comes(archive: WalArchive) -> None:
    for name in NAMES:
        archive.store(name, bytes(made.SEGMENT_BYTES))
    wait_for_segments(archive, NAMES, lambda: "why", SteppedClock(), 300, pytest.fail)
