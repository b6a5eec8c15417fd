# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""archive_command and restore_command: what is of this cluster goes in and comes out, and a hole is no end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import wal_spool
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore.salvage import salvage_wal
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.wal import archive, fetch
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.wal.fetch import FetchRequest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.access import stanza_of
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.wal import WalArchive
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import (
    ArchiveSpec,
    RepositorySpec,
    WalCopy,
)
from fakes import Collector
from made import SEGMENT_BYTES
from made_cluster import IDENTIFIER
from made_wal import LIFE, name_of, wal


@pytest.fixture
def registered(on_disk: RepositorySpec, clock: Clock) -> WalArchive:
    """The archive of a cluster that is registered in the repository on disk."""
    stanza = stanza_of(on_disk, "main")
    return WalArchive(stanza, stanza.register(IDENTIFIER, 15, SEGMENT_BYTES, clock, LIFE))


def push(spec: RepositorySpec, folder: Path, name: str, content: bytes) -> bool:
    (folder / name).write_bytes(content)
    warnings: list[str] = []
    copies = ArchiveSpec((WalCopy("main", spec),))
    new = archive.push(archive.ArchiveRequest(copies, "main", folder / name, folder, LIFE), warnings.append)
    assert warnings == []
    return new


def fetched(spec: RepositorySpec, folder: Path, name: str) -> bool:
    return fetch.fetch(FetchRequest(spec, "main", name, folder / "RECOVERYXLOG"))


# --- archiving


def test_what_was_pushed_can_be_fetched(on_disk: RepositorySpec, registered: WalArchive, tmp_path: Path) -> None:
    for name, content in ((name_of(5), wal(5)), ("00000002.history", b"1\t0/500000\tno reason\n")):
        assert push(on_disk, tmp_path, name, content)
        assert not push(on_disk, tmp_path, name, content)
        assert fetched(on_disk, tmp_path, name)
        assert (tmp_path / "RECOVERYXLOG").read_bytes() == content


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        (name_of(5), wal(6), "wal_wrong_name"),
        (name_of(5), wal(5, identifier=1), "wal_foreign_system"),
        (name_of(5), wal(5)[:-1], "wal_not_a_segment"),
        (name_of(5), wal(5) + b"\0", "wal_not_a_segment"),
        (name_of(5), bytes(SEGMENT_BYTES), "wal_not_a_segment"),
        (f"{name_of(5)}.partial", wal(6), "wal_wrong_name"),
        ("something.else", b"x", "wal_name_invalid"),
    ],
)
def test_what_is_not_of_this_cluster_is_refused(
    on_disk: RepositorySpec, registered: WalArchive, tmp_path: Path, name: str, content: bytes, code: str
) -> None:
    with expect.failure(code):
        push(on_disk, tmp_path, name, content)
    assert registered.find(name) is None


def test_a_file_that_cannot_be_read_is_explained(
    on_disk: RepositorySpec, registered: WalArchive, tmp_path: Path
) -> None:
    copies = ArchiveSpec((WalCopy("main", on_disk),))
    with expect.failure("wal_file_not_readable"):
        archive.push(archive.ArchiveRequest(copies, "main", tmp_path / name_of(5), tmp_path, LIFE), str)


# --- fetching


def test_beyond_the_newest_segment_the_archive_ends(
    on_disk: RepositorySpec, registered: WalArchive, tmp_path: Path
) -> None:
    registered.store(name_of(5), wal(5))
    assert not fetched(on_disk, tmp_path, name_of(6))
    assert not fetched(on_disk, tmp_path, "00000002.history")
    assert not fetched(on_disk, tmp_path, f"{name_of(4)}.partial")
    assert not (tmp_path / "RECOVERYXLOG").exists()


def test_a_hole_is_not_the_end(on_disk: RepositorySpec, registered: WalArchive, tmp_path: Path) -> None:
    registered.store(name_of(5), wal(5))
    registered.store(name_of(7), wal(7))
    with expect.failure("wal_gap") as failure:
        fetched(on_disk, tmp_path, name_of(6))
    assert failure.value.details["missing"] == name_of(6)


def test_a_hole_that_another_timeline_fills_is_none(
    on_disk: RepositorySpec, registered: WalArchive, tmp_path: Path
) -> None:
    registered.store(name_of(5), wal(5))
    registered.store(name_of(6, 2), wal(6, 2))
    assert not fetched(on_disk, tmp_path, name_of(5, 2))
    with expect.failure("wal_gap"):
        fetched(on_disk, tmp_path, name_of(4, 2))


def test_a_damaged_or_foreign_object_is_not_the_end_either(
    on_disk: RepositorySpec, registered: WalArchive, tmp_path: Path
) -> None:
    registered.store(name_of(5), wal(5))
    registered.store(name_of(6), wal(7))
    archived = registered.find(name_of(5))
    assert archived is not None
    path = Path(on_disk.url, archived.object_name)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with expect.failure("object_damaged"):
        fetched(on_disk, tmp_path, name_of(5))
    with expect.failure("wal_wrong_name"):
        fetched(on_disk, tmp_path, name_of(6))
    assert not (tmp_path / "RECOVERYXLOG").exists()


def test_what_proves_wrong_at_its_end_is_never_seen(
    on_disk: RepositorySpec, registered: WalArchive, tmp_path: Path
) -> None:
    """Bytes are written as they come, and get their name when all of them have proven right."""
    registered.store(name_of(8), wal(8)[:-8192])
    registered.store(name_of(9), wal(9))
    archived = registered.find(name_of(9))
    assert archived is not None
    path = Path(on_disk.url, archived.object_name)
    path.rename(path.with_name(path.name[:-32] + "0" * 32))
    (tmp_path / "new").mkdir()
    with expect.failure("wal_not_a_segment"):
        fetched(on_disk, tmp_path / "new", name_of(8))
    with expect.failure("object_damaged"):
        fetched(on_disk, tmp_path / "new", name_of(9))
    assert list((tmp_path / "new").iterdir()) == []


def test_what_cannot_be_written_is_explained(on_disk: RepositorySpec, registered: WalArchive, tmp_path: Path) -> None:
    registered.store(name_of(5), wal(5))
    with expect.failure("wal_file_not_writable"):
        fetched(on_disk, tmp_path / "nowhere", name_of(5))


def test_an_earlier_life_can_be_fetched_from(on_disk: RepositorySpec, registered: WalArchive, tmp_path: Path) -> None:
    registered.store(name_of(5), wal(5))
    request = FetchRequest(on_disk, "main", name_of(5), tmp_path / "file", registered.life.incarnation)
    assert fetch.fetch(request)
    with expect.failure("incarnation_missing"):
        fetch.fetch(replace(request, incarnation="of nobody"))


# --- WAL of a directory that is about to be overwritten


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A pg_wal with an archived, a finished, an unfinished and a recycled segment."""
    folder = tmp_path / "pg_wal"
    (folder / "archive_status").mkdir(parents=True)
    for number, content in ((4, wal(4)), (5, wal(5)), (6, wal(6)), (7, wal(3))):
        (folder / name_of(number)).write_bytes(content)
    (folder / "archive_status" / f"{name_of(5)}.ready").touch()
    (folder / "something else").write_text("")
    return folder


def test_wal_that_was_never_archived_is_kept(
    registered: WalArchive, old: Path, tmp_path: Path, durability: list[str]
) -> None:
    registered.store(name_of(4), wal(4))
    (old.parent / wal_spool.CLAIM_FILE).write_text(
        wal_spool.claim_text(wal_spool.life_name(IDENTIFIER, registered.life.incarnation))
    )
    aside = tmp_path / "aside"
    assert salvage_wal(old, registered, aside, Collector()) == [name_of(5), name_of(6)]
    archived = registered.find(name_of(5))
    assert archived is not None
    assert registered.fetch(archived) == wal(5)
    assert registered.find(name_of(6)) is None
    assert [(path.name, path.read_bytes()) for path in aside.iterdir()] == [(name_of(6), wal(6))]
    assert f"sync temporary {name_of(6)}" in durability


def test_a_clones_wal_does_not_get_among_the_originals(registered: WalArchive, old: Path, tmp_path: Path) -> None:
    """Nobody has claimed the archive for the directory, so what it has is only kept."""
    registered.store(name_of(4), wal(4))
    assert salvage_wal(old, registered, tmp_path / "aside", Collector()) == [name_of(5), name_of(6)]
    assert registered.find(name_of(5)) is None
    assert sorted(path.name for path in (tmp_path / "aside").iterdir()) == [name_of(5), name_of(6)]
