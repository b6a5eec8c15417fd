# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A receiver's optional repositories get what there is of an unfinished segment, and hold up nobody."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import expect
import made
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.receive.spool import (
    ReceiveSpool,
    SpoolOwner,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.receive.upload import Uploader
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.access import stanza_of
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.key_files import generate_key_file
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.repository import create
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.wal import WalArchive
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import (
    ArchiveSpec,
    KeySpec,
    RepositorySpec,
    WalCopy,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.local import LocalStore
from fakes import SteppedClock
from made_cluster import IDENTIFIER
from made_wal import LIFE, name_of, wal


class Receiver:
    """The uploading half of one, with a required and an optional repository."""

    def __init__(self, folder: Path) -> None:
        self.spool = ReceiveSpool(folder / "spool")
        self.spool.make()
        self.copies = [WalCopy(name, _repository(folder / name)) for name in ("near", "far")]
        for copy in self.copies:
            stanza = stanza_of(copy.repository, "main")
            stanza.register(IDENTIFIER, 15, made.SEGMENT_BYTES, SystemClock(), LIFE)
        self.said: list[str] = []
        self.clock = SteppedClock()
        owner = SpoolOwner("main", LIFE, IDENTIFIER, 15, made.SEGMENT_BYTES)
        archive = ArchiveSpec((self.copies[0],), (self.copies[1],))
        self.uploader = Uploader(archive, self.spool, owner, 2, self.clock, self.said.append)

    def receive(self, number: int, length: int) -> None:
        """So much of a segment has come."""
        (self.spool.wal / f"{name_of(number)}.partial").write_bytes(
            (wal(number)[:100] + b"x" * (length - 100)).ljust(made.SEGMENT_BYTES, b"\0")
        )

    def finish(self, number: int) -> None:
        (self.spool.wal / f"{name_of(number)}.partial").rename(self.spool.wal / name_of(number))

    def round(self) -> None:
        """As the service does every few seconds."""
        self.uploader.round(partial=True)
        self.uploader.pay_debts()

    def shipped(self, which: int) -> list[tuple[int, int]]:
        """The partials in a repository: of which segment, and how much."""
        there = self._archive(which).partials.there()
        return [(int(each.file_name[8:], 16), each.length) for each in there]

    def archived(self, which: int) -> list[str]:
        return [each.file_name for each in self._archive(which).segments(1)]

    def _archive(self, which: int) -> WalArchive:
        stanza = stanza_of(self.copies[which].repository, "main")
        return WalArchive(stanza, stanza.life(LIFE))

    def soon(self, which: int, shipped: list[tuple[int, int]]) -> None:
        """So it is before long, whatever has to be paid before."""

        def is_so() -> bool:
            self.uploader.pay_debts()
            return self.shipped(which) == shipped

        expect.soon(is_so)

    @contextlib.contextmanager
    def far_away(self) -> Iterator[None]:
        root = Path(self.copies[1].repository.url)
        root.rename(root.with_name("away"))
        yield
        root.with_name("away").rename(root)


def _repository(root: Path) -> RepositorySpec:
    store, key = LocalStore(root), root.with_suffix(".key")
    store.create()
    create(store, generate_key_file(key), SystemClock())
    return RepositorySpec(store.url, KeySpec(key_file=key))


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    made_receiver = Receiver(tmp_path)
    with contextlib.closing(made_receiver.uploader):
        yield made_receiver


def test_what_there_is_comes_to_the_optional_one_too_and_goes_with_its_segment(receiver: Receiver) -> None:
    receiver.receive(5, 1000)
    receiver.round()
    assert receiver.shipped(0) == [(5, 1000)]
    receiver.soon(1, [(5, 1000)])
    receiver.receive(5, 2000)
    receiver.round()
    receiver.soon(1, [(5, 2000)])
    receiver.finish(5)
    receiver.round()
    expect.soon(lambda: receiver.archived(1) == [name_of(5)])
    receiver.receive(6, 500)
    receiver.round()
    assert receiver.shipped(0) == [(6, 500)]
    receiver.soon(1, [(6, 500)])


def test_one_that_is_away_is_told_of_holds_up_nothing_and_gets_it_later(receiver: Receiver) -> None:
    receiver.receive(5, 1000)
    receiver.round()
    receiver.soon(1, [(5, 1000)])
    with receiver.far_away():
        receiver.receive(5, 2000)
        receiver.round()
        assert receiver.shipped(0) == [(5, 2000)]

        def told() -> bool:
            receiver.uploader.pay_debts()
            return any("far lacks what there is" in text for text in receiver.said)

        expect.soon(told)
        for length in range(2001, 2011):
            receiver.receive(5, length)
            receiver.round()
        assert len(receiver.said) == 1  # not every few seconds
    receiver.clock.sleep(100)
    receiver.soon(1, [(5, 2010)])  # although nothing has come since


def test_the_unfinished_one_stays_until_its_segment_is_there(receiver: Receiver) -> None:
    receiver.receive(5, 1000)
    receiver.round()
    receiver.soon(1, [(5, 1000)])
    with receiver.far_away():
        receiver.finish(5)
        receiver.round()
        assert receiver.shipped(0) == []
        assert any(path.name == name_of(5) for path in receiver.spool.root.rglob("owed/far/*"))
    assert receiver.shipped(1) == [(5, 1000)]


def test_what_has_come_last_is_brought_before_it_ends(receiver: Receiver) -> None:
    receiver.receive(5, 1000)
    receiver.uploader.round(partial=True)
    receiver.uploader.close()
    assert receiver.shipped(1) == [(5, 1000)]
