# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup from its intent to its manifest: visible only when whole, and never less than whole afterwards (I1)."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import expect
import made
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import (
    InterruptedJobError,
    StorageError,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.backup import making as backup_making
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.backup import physical as backup_job
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import FileEntry, Header
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources import cluster_reader
from fakes import MemoryStore, MemoryWriter
from made_cluster import Cluster

OUT_OF_ORDER = StorageError("publishing", "the disk is broken.", "Replace it.", code="storage_failed")
STOPPED = InterruptedJobError("running the job", "it was told to stop.", "Start it again.", code="interrupted")


def packs_named(cluster: Cluster) -> set[str]:
    """The packs that visible backups need."""
    entries = [entry for backup_id in cluster.stanza.backup_ids() for entry in cluster.stanza.entries(backup_id)]
    return {pack for entry in entries if isinstance(entry, FileEntry) for pack in entry.packs()}


def packs_there(store: MemoryStore) -> set[str]:
    return {name.rpartition("/")[2] for name in store.objects if "/packs/" in name}


def test_everything_a_backup_names_is_there(cluster: Cluster, store: MemoryStore) -> None:
    header = cluster.back_up()
    assert cluster.stanza.backup_ids() == [header.backup_id]
    assert packs_named(cluster) <= packs_there(store)
    files = [entry for entry in cluster.stanza.entries(header.backup_id) if isinstance(entry, FileEntry)]
    assert len(files) + 1 == header.file_count
    assert "global/pg_control" not in {entry.path for entry in files}


def test_files_are_read_between_the_start_and_the_stop_of_backup_mode(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_files, asked = cluster_reader.read_files, cluster.connection.asked

    def noted(*arguments: Any) -> None:
        asked.append("reading files")
        read_files(*arguments)

    monkeypatch.setattr(backup_job, "read_files", noted)
    cluster.back_up()
    order = ["starting backup mode", "reading files", "stopping backup mode"]
    assert [each for each in asked if each in order] == order


def test_a_full_backup_names_no_pack_of_another(cluster: Cluster, store: MemoryStore) -> None:
    cluster.back_up()
    first = packs_there(store)
    second = cluster.back_up()
    assert (second.backup_type, second.parent) == ("full", None)
    entries = [entry for entry in cluster.stanza.entries(second.backup_id) if isinstance(entry, FileEntry)]
    assert not {pack for entry in entries for pack in entry.packs()} & first


@pytest.mark.parametrize("later", [0, 0.5, -7200], ids=["at once", "within the second", "with the clock set back"])
def test_ids_sort_in_the_order_of_making(cluster: Cluster, later: float) -> None:
    made = [cluster.back_up()]
    for _repetition in range(12):
        made.append(cluster.back_up("incremental", later=later))
        assert made[-1].parent == made[-2].backup_id
    assert cluster.stanza.backup_ids() == [header.backup_id for header in made]


def test_an_incremental_backup_is_a_complete_picture_that_stores_little(cluster: Cluster, store: MemoryStore) -> None:
    (cluster.data / "base/1/1259").write_bytes(b"x" * 100_000)
    first = cluster.back_up()
    before = packs_there(store)
    (cluster.data / "base/1/2619").write_text("changed")
    second = cluster.back_up("auto")
    assert (second.backup_type, second.parent, second.generation) == ("incremental", first.backup_id, first.generation)
    paths = [[entry.path for entry in cluster.stanza.entries(each.backup_id)] for each in (first, second)]
    assert paths[0] == paths[1]
    assert len(packs_there(store) - before) == 1


def test_what_the_server_really_uses_is_what_is_backed_up(cluster: Cluster) -> None:
    elsewhere = cluster.data.parent / "etc"
    elsewhere.mkdir()
    (elsewhere / "postgresql.conf").write_text("port = 5444\n")
    cluster.config_directory = elsewhere
    header = cluster.back_up()
    entries = [entry for entry in cluster.stanza.entries(header.backup_id) if isinstance(entry, FileEntry)]
    assert [entry.area for entry in entries if entry.path == "postgresql.conf"] == ["config"]
    paths = [entry.path for entry in entries]
    assert len(paths) == len(set(paths))


@pytest.mark.parametrize(
    ("timeline", "position", "in_recovery", "code"),
    [
        (1, "0/300500", False, None),
        (1, "0/3004FF", False, "server_behind_its_backups"),
        (1, "0/3004FF", True, None),  # a standby may lag
        (2, "0/100", False, None),  # promoted, or restored and promoted
    ],
)
def test_only_a_server_that_can_follow_its_backups_is_backed_up(
    cluster: Cluster, timeline: int, position: str, in_recovery: bool, code: str | None
) -> None:
    cluster.back_up()
    require_present(cluster, timeline, position, in_recovery, code)


@pytest.mark.parametrize("in_recovery", [False, True])
def test_a_server_that_was_left_behind_is_not_backed_up(cluster: Cluster, in_recovery: bool) -> None:
    """It has the earlier timeline, whatever its WAL's position; right after a promotion only the history tells."""
    header = made.header(incarnation=cluster.life.incarnation, timeline=2)
    require_present(cluster, 1, "9/0", in_recovery, "timeline_left_behind", header)
    (cluster.data / "pg_wal/00000002.history").touch()
    require_present(cluster, 1, "9/0", in_recovery, None, header)
    require_present(cluster, 1, "9/0", in_recovery, None, replace(header, timeline=9, incarnation="another"))


def require_present(
    cluster: Cluster, timeline: int, position: str, in_recovery: bool, code: str | None, *headers: Header
) -> None:
    """What `run` looks at before it decides anything."""
    (cluster.data / "global/pg_control").write_bytes(made.control_bytes({48: ("<I", timeline)}))
    cluster.connection.answers["asking the server for its position"] = [(position,)]
    server = replace(cluster.server(), in_recovery=in_recovery)
    with expect.failure(code) if code else contextlib.nullcontext():
        known = list(headers) or cluster.stanza.headers()
        backup_job._require_present(server, cluster.connection, cluster.life, known)


# --- failures


@pytest.mark.parametrize(("redo", "accepted"), [(0x200028, True), (0x200027, False)])
def test_a_directory_whose_server_made_no_checkpoint_for_it_is_refused(
    cluster: Cluster, store: MemoryStore, redo: int, accepted: bool
) -> None:
    """Two clones that were started in the same second look alike until then."""
    cluster.put_wal(2, 3)
    before = set(store.objects)
    (cluster.data / "global/pg_control").write_bytes(made.control_bytes({40: ("<Q", redo)}))
    if accepted:
        cluster.back_up()
        return
    with expect.failure("server_directory_mismatch"):
        cluster.back_up()
    assert set(store.objects) == before


def failing(cluster: Cluster, error: Exception, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """One step of a backup fails."""

    def fail(*_ignored: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(backup_job if hasattr(backup_job, where) else backup_making, where, fail)


@pytest.mark.parametrize("where", ["read_files", "wait_for_segments"])
def test_a_backup_that_failed_leaves_nothing(
    cluster: Cluster, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    cluster.put_wal(2, 3)
    before = set(store.objects)
    failing(cluster, OUT_OF_ORDER, monkeypatch, where)
    with expect.failure("storage_failed"):
        cluster.back_up()
    assert set(store.objects) == before


def test_damaged_pages_can_be_refused(cluster: Cluster, store: MemoryStore) -> None:
    cluster.put_wal(2, 3)
    before = set(store.objects)
    (cluster.data / "base/1/2619").write_bytes(bytes(8192))
    (cluster.data / "base/1/1259").write_bytes(bytes(8) + b"\x01" * 8184)
    with expect.failure("pages_damaged"):
        cluster.back_up(fail_on_damaged_pages=True)
    assert set(store.objects) == before
    assert cluster.back_up().damaged_pages == 1


@pytest.mark.parametrize("visible", [True, False], ids=["after it became visible", "before"])
@pytest.mark.parametrize("error", [OUT_OF_ORDER, STOPPED], ids=["storage", "signal"])
def test_a_backup_whose_publication_failed_is_whole_or_not_visible(
    cluster: Cluster, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, error: Exception, visible: bool
) -> None:
    commit = MemoryWriter.commit

    def fails(writer: MemoryWriter) -> None:
        if not writer._name.endswith("/manifest"):
            commit(writer)
            return
        if visible:
            commit(writer)
        raise error

    with monkeypatch.context() as patch, pytest.raises(type(error)):
        patch.setattr(MemoryWriter, "commit", fails)
        cluster.back_up()
    assert len(cluster.stanza.backup_ids()) == visible
    assert packs_named(cluster) <= packs_there(store)
    assert [name for name in store.objects if name.endswith("/intent")], "the next backup cannot know of it"


def test_after_a_failed_publication_the_next_backup_cleans_up(
    cluster: Cluster, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    test_a_backup_whose_publication_failed_is_whole_or_not_visible(cluster, store, monkeypatch, OUT_OF_ORDER, True)
    monkeypatch.setattr(
        "ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.intents.Holder.is_dead",
        lambda holder: True,
    )
    cluster.back_up()
    assert len(cluster.stanza.backup_ids()) == 2
    assert packs_named(cluster) == packs_there(store)
    assert not [name for name in store.objects if "/intents/" in name]
