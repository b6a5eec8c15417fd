# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The background of restore_command: only whole, checked segments of this life lie ready, and nothing stays behind."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import expect
import made
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import background, durable, wal_spool
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock, SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs import prefetch
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.access import stanza_of
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.wal import WalArchive
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import RepositorySpec
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.wal_spool import FETCH, WalSpool
from made_cluster import IDENTIFIER
from made_wal import LIFE, name_of, wal


@pytest.fixture
def archive(on_disk: RepositorySpec, clock: Clock) -> WalArchive:
    """Segments 5 to 12; a hole, and 14."""
    stanza = stanza_of(on_disk, "main")
    made_archive = WalArchive(stanza, stanza.register(IDENTIFIER, 15, made.SEGMENT_BYTES, clock, LIFE))
    for number in (*range(5, 13), 14):
        made_archive.store(name_of(number), wal(number))
    return made_archive


@pytest.fixture
def spool(tmp_path: Path) -> WalSpool:
    """Of a server that recovers."""
    data = made.data_directory(tmp_path / "recovering")
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n")
    (data / "recovery.signal").touch()
    return WalSpool(str(data), LIFE)


def ready(spool: WalSpool) -> list[int]:
    """The numbers of the segments that can be taken."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(int(name[8:], 16) for name in os.listdir(spool.fetched) if not name.startswith("."))
    return []


@contextlib.contextmanager
def fetching(spec: RepositorySpec, spool: WalSpool, ahead: int = 3) -> Iterator[threading.Thread]:
    """The background, at work until the block or its reason ends."""
    request = prefetch.PrefetchRequest(
        spec, "main", LIFE, Path(spool.data_directory), "hello", 2, name_of(4), ahead * made.SEGMENT_BYTES
    )
    thread = threading.Thread(target=prefetch.run, args=(request, SystemClock()))
    thread.start()
    try:
        expect.soon(lambda: wal_spool.ring(spool.bell(FETCH), ""))
        yield thread
    finally:
        background.end(spool, FETCH, SystemClock())
        thread.join()
    assert ready(spool) == []


def ask(spool: WalSpool, number: int) -> None:
    assert wal_spool.ring(spool.bell(FETCH), f"hello{wal_spool.WANTED}{name_of(number)}")


def test_it_stays_ahead_but_not_too_far(on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool) -> None:
    with fetching(on_disk, spool):
        for number in range(5, 13):
            last = min(number + 2, 12)
            expect.soon(lambda last=last, number=number: ready(spool) == list(range(number, last + 1)))  # type: ignore[misc]
            taken = Path(spool.fetched, name_of(number)).rename(Path(spool.wal, "RECOVERYXLOG"))
            assert taken.read_bytes() == wal(number)


def test_what_is_wanted_elsewhere_is_brought_and_what_is_missing_is_said(
    on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool
) -> None:
    with fetching(on_disk, spool):
        expect.soon(lambda: ready(spool) == [5, 6, 7])
        ask(spool, 11)  # behind all that is there
        expect.soon(lambda: ready(spool) == [11, 12])
        ask(spool, 10)  # once more
        expect.soon(lambda: ready(spool) == [10, 11, 12])
        ask(spool, 13)
        expect.soon(lambda: os.path.exists(spool.not_fetched(name_of(13))))


def test_while_some_are_being_synced_the_next_are_read(
    on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, read, disk = durable.write_pieces, list[str](), threading.Event()

    def on_a_slow_disk(path: Path, pieces: Iterator[bytes], mode: int) -> None:
        content = b"".join(pieces)
        read.append(path.name)
        assert disk.wait(60)
        write(path, [content], mode)

    monkeypatch.setattr(durable, "write_pieces", on_a_slow_disk)
    with fetching(on_disk, spool, 8):
        expect.soon(lambda: len(read) == 4)  # by two that read
        assert ready(spool) == []
        disk.set()
        expect.soon(lambda: ready(spool) == list(range(5, 13)))


def test_a_damaged_segment_never_lies_ready(on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool) -> None:
    archived = archive.find(name_of(6))
    assert archived is not None
    path = Path(on_disk.url, archived.object_name)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with fetching(on_disk, spool):
        expect.soon(lambda: os.path.exists(spool.not_fetched(name_of(6))))
        assert 6 not in ready(spool)


@pytest.mark.parametrize("reason", ["recovery.signal", "postmaster.pid"])
def test_it_ends_with_the_recovery_and_leaves_nothing(
    on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool, reason: str
) -> None:
    with fetching(on_disk, spool) as thread:
        expect.soon(lambda: ready(spool) == [5, 6, 7])
        Path(spool.data_directory, reason).unlink()
        expect.soon(lambda: not thread.is_alive())
        assert not os.path.exists(spool.fetched)


def test_what_an_earlier_one_left_and_other_lives_go(
    on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool
) -> None:
    other = Path(WalSpool(spool.data_directory, "2" * 16).fetched, name_of(9))
    stale = Path(spool.fetched, name_of(99))
    for path in (other, stale):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"something")
    with fetching(on_disk, spool):
        assert not other.exists() and not stale.exists()
