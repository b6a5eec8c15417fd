# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A shipped partial takes a segment's place only where the archive really ends, and never for a standby."""

from __future__ import annotations

from pathlib import Path

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.status import info
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.wal import fetch, last_wal
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.wal_names import (
    format_lsn,
    parse_segment_name,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.access import stanza_of
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.wal import WalArchive
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import RepositorySpec
from made import SEGMENT_BYTES
from made_cluster import IDENTIFIER
from made_wal import LIFE, name_of, wal

START = 6 * SEGMENT_BYTES
SHIPPED = wal(6)[:40] + b"a record"


@pytest.fixture
def archive(on_disk: RepositorySpec, clock: Clock) -> WalArchive:
    """An archive that ends with segment 5, and the beginning of the next one."""
    stanza = stanza_of(on_disk, "main")
    made = WalArchive(stanza, stanza.register(IDENTIFIER, 15, SEGMENT_BYTES, clock, LIFE))
    made.store(name_of(5), wal(5))
    made.partials.store(name_of(6), SHIPPED)
    return made


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """The data directory of a server that recovers."""
    (tmp_path / "data/pg_wal").mkdir(parents=True)
    (tmp_path / "data/recovery.signal").touch()
    return tmp_path / "data"


def fetched(spec: RepositorySpec, server: Path, number: int = 6) -> bytes | None:
    destination = server / "pg_wal/RECOVERYXLOG"
    there = fetch.fetch(fetch.FetchRequest(spec, "main", name_of(number), destination))
    return destination.read_bytes() if there else None


def may_serve(archive: WalArchive) -> bool:
    return last_wal.last_of(archive, parse_segment_name(name_of(6), SEGMENT_BYTES)) is not None


def test_it_is_the_last_segment_filled_up_with_zeros(
    on_disk: RepositorySpec, archive: WalArchive, server: Path
) -> None:
    assert fetched(on_disk, server) == SHIPPED.ljust(SEGMENT_BYTES, b"\0")
    assert fetched(on_disk, server, 7) is None


def test_a_longer_one_takes_its_place(on_disk: RepositorySpec, archive: WalArchive, server: Path) -> None:
    archive.partials.store(name_of(6), SHIPPED + b"another")
    assert len(archive.partials.there()) == 1
    assert fetched(on_disk, server) == (SHIPPED + b"another").ljust(SEGMENT_BYTES, b"\0")


def test_a_standby_gets_none_and_nobody_gets_one_who_does_not_recover(
    on_disk: RepositorySpec, archive: WalArchive, server: Path
) -> None:
    (server / "standby.signal").touch()
    assert fetched(on_disk, server) is None
    (server / "standby.signal").unlink()
    (server / "recovery.signal").unlink()
    assert fetched(on_disk, server) is None


def test_the_segment_itself_comes_first(on_disk: RepositorySpec, archive: WalArchive, server: Path) -> None:
    archive.store(name_of(6), wal(6))
    assert fetched(on_disk, server) == wal(6)
    archive.partials.remove_up_to(name_of(6))
    assert archive.partials.there() == []


def test_where_anything_comes_behind_it_its_lack_is_a_gap(
    on_disk: RepositorySpec, archive: WalArchive, server: Path
) -> None:
    archive.store(name_of(7), wal(7))
    with expect.failure("wal_gap"):
        fetched(on_disk, server)
    assert not may_serve(archive)


@pytest.mark.parametrize(
    ("fork", "serves"),
    [(START - 8, False), (START + 8, False), (START + SEGMENT_BYTES, False), (START + SEGMENT_BYTES + 8, True)],
)
def test_a_timeline_that_left_before_its_end_forbids_it(archive: WalArchive, fork: int, serves: bool) -> None:
    archive.store("00000002.history", f"1\t{format_lsn(fork)}\tby promotion\n".encode())
    assert may_serve(archive) is serves


def test_a_later_timeline_of_unknown_origin_forbids_it(archive: WalArchive) -> None:
    archive.store(name_of(6, 2), wal(6, 2))
    assert not may_serve(archive)


def test_two_of_one_length_are_two_receivers(archive: WalArchive) -> None:
    archive.partials.store(name_of(6), SHIPPED[:-1] + b"D")
    with expect.failure("wal_conflict"):
        may_serve(archive)


def test_a_window_says_how_far_finished_wal_and_how_far_the_partial_reaches(
    on_disk: RepositorySpec, archive: WalArchive
) -> None:
    def said() -> tuple[str | None, str | None]:
        (only,) = info.read(on_disk, "main").timelines
        return only.last_segment, only.partial_until

    for number in range(5):  # without a backup the window begins with the timeline
        archive.store(name_of(number), wal(number))
    assert said() == (name_of(5), format_lsn(START + len(SHIPPED)))
    archive.store(name_of(6), wal(6))
    assert said() == (name_of(6), None)
    archive.partials.store(name_of(7), SHIPPED)
    archive.store(name_of(9), wal(9))
    archive.partials.store(name_of(10), SHIPPED)
    assert said() == (name_of(9), None)  # behind a gap nothing can be reached


def test_where_two_receivers_ship_what_there_is_can_be_listed(on_disk: RepositorySpec, archive: WalArchive) -> None:
    for number in range(5):
        archive.store(name_of(number), wal(number))
    archive.partials.store(name_of(6), SHIPPED[:-1] + b"D")
    (only,) = info.read(on_disk, "main").timelines
    assert (only.last_segment, only.partial_until) == (name_of(5), None)
