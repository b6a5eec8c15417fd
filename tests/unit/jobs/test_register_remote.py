# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that is only an address: registered in its first repository, and claimed in all of them after pg_upgrade."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import expect
import made
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.archiving import register_remote
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.archiving.request import (
    ArchivingRequest,
    ArchivingResult,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres import replication
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.replication import RemoteServer
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.access import stanza_of
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.key_files import generate_key_file
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.repository import create
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import (
    ArchiveSpec,
    ClusterSpec,
    ConnectionSpec,
    KeySpec,
    RepositorySpec,
    WalCopy,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.local import LocalStore
from fakes import Collector

OLD = RemoteServer(150004, 7380000000000000001, 1, 1 << 30, False, made.SEGMENT_BYTES, True, "on")
NEW = replace(OLD, version_num=170002, system_identifier=7380000000000000002)


class Place:
    """A server, and two repositories of which the second is optional."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.server = OLD
        self.folder = folder
        self._clock = clock
        for name in ("near", "far"):
            store = LocalStore(folder / name)
            store.create()
            create(store, generate_key_file(folder / f"{name}.key"), clock)

    @contextlib.contextmanager
    def connect(self, *_how: object) -> Iterator[Place]:
        yield self

    def inspect(self) -> RemoteServer:
        return self.server

    def run(self, claim: str | None = None, *, check_mode: bool = False) -> ArchivingResult:
        near, far = (WalCopy(name, self._repository(name)) for name in ("near", "far"))
        cluster = ClusterSpec("main", "main", ConnectionSpec(), method="stream")
        request = ArchivingRequest(
            cluster, near.repository, Path("lifeboat"), (), ArchiveSpec((near,), (far,)), claim=claim
        )
        return register_remote.run(request, self._clock, Collector(), check_mode=check_mode)

    def know(self, name: str, server: RemoteServer, incarnation: str | None) -> None:
        """A repository learns of a life, as when its first WAL comes."""
        facts = server.system_identifier, server.major, server.wal_segment_bytes
        self._stanza(name).begin_another(*facts, self._clock, incarnation)

    def ids(self, name: str) -> list[str]:
        """The lives that a repository knows."""
        return [life.incarnation for life in self._stanza(name).incarnations()]

    def _stanza(self, name: str) -> Stanza:
        return stanza_of(self._repository(name), "main")

    def _repository(self, name: str) -> RepositorySpec:
        return RepositorySpec(str(self.folder / name), KeySpec(key_file=self.folder / f"{name}.key"))


@pytest.fixture
def place(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Place:
    found = Place(tmp_path, clock)
    monkeypatch.setattr(replication, "connect", found.connect)
    return found


def test_a_repository_that_is_away_matters_only_to_a_claim(place: Place) -> None:
    (place.folder / "far").rename(place.folder / "away")
    assert place.run().registered and not place.run().registered
    place.server = NEW
    with expect.failure("stanza_of_another_cluster"):
        place.run()
    with expect.failure("repository_missing"):
        place.run("incarnation")
    assert len(place.ids("near")) == 1


def test_after_an_upgrade_one_life_begins_in_all_repositories(place: Place) -> None:
    first = place.run().incarnation
    place.know("far", OLD, first)
    assert not place.run("incarnation").changed  # nothing is new
    place.server = NEW
    assert place.run("incarnation", check_mode=True).registered and place.ids("near") == [first]
    second = place.run("incarnation")
    assert second.registered and place.ids("near") == place.ids("far") == [first, second.incarnation]
    assert not place.run("incarnation").changed


def test_a_claim_that_came_half_way_is_brought_to_its_end(place: Place) -> None:
    place.know("far", OLD, place.run().incarnation)
    place.know("near", NEW, "half")
    place.server = NEW
    assert place.run("incarnation").incarnation == "half"
    assert place.ids("near")[-1] == place.ids("far")[-1] == "half"
