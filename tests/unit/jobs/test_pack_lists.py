# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of packs beside a manifest says what the manifest and its block maps say."""

from __future__ import annotations

import os
from dataclasses import replace

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import layout, pack_lists
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import (
    FileEntry,
    Header,
    parse_entry,
    render_entry,
)
from fakes import MemoryStore
from made_cluster import Cluster

LIST = "stanzas/main/backups/{}/pack-list"


@pytest.fixture
def history(cluster: Cluster) -> list[Header]:
    """A full backup and three incremental ones of a relation whose pages change, of which the last changes nothing."""
    relation = cluster.data / "base/1/16384"
    relation.write_bytes(b"".join(bytes([page]) * 8192 for page in range(100)))
    os.utime(relation, (1, 1))  # before the clock's present, or it could have changed again
    made = [cluster.back_up()]
    for page in (3, 77):
        with relation.open("r+b") as stream:
            stream.seek(page * 8192)
            stream.write(b"new" * 100)
        os.utime(relation, (page, page))
        made.append(cluster.back_up("incremental"))
    return [*made, cluster.back_up("incremental")]


def test_a_list_is_what_reading_everything_would_give(cluster: Cluster, history: list[Header]) -> None:
    for header in history:
        listed = pack_lists.needed(cluster.stanza, header)
        assert listed == pack_lists.named_by_manifest(cluster.stanza, header)
        assert listed <= cluster.stanza.packs_there(header.generation)
    full, first, *_more = (pack_lists.needed(cluster.stanza, header) for header in history)
    assert first - full and first & full


def test_a_backup_whose_lines_do_not_say_it_is_read_to_its_maps(
    cluster: Cluster, store: MemoryStore, history: list[Header]
) -> None:
    """As older versions wrote them: without the packs of maps in the lines, and without a list."""
    last = history[-1]
    expected = pack_lists.needed(cluster.stanza, last)
    entries = list(cluster.stanza.entries(last.backup_id))
    old = [replace(each, map_packs=None) if isinstance(each, FileEntry) else each for each in entries]
    files = [each for each in old if isinstance(each, FileEntry)]
    assert [each.path for each in files if each.needed_packs() is None] == ["base/1/16384"]
    assert [parse_entry(render_entry(each)) for each in old] == old
    cluster.stanza.publish(last, map(render_entry, old))
    store.delete(LIST.format(last.backup_id))
    assert pack_lists.needed(cluster.stanza, last) == expected

    following = cluster.back_up("incremental")  # it takes the line over as it is
    assert store.size(LIST.format(following.backup_id)) is None
    assert pack_lists.needed(cluster.stanza, following) >= expected


def test_a_damaged_list_is_no_loss_but_another_ones_is_refused(
    cluster: Cluster, store: MemoryStore, history: list[Header]
) -> None:
    full, first, *_more = history
    expected = [pack_lists.needed(cluster.stanza, header) for header in (full, first)]
    store.objects[LIST.format(first.backup_id)] = store.objects[LIST.format(full.backup_id)]
    assert pack_lists.needed(cluster.stanza, first) == expected[1]
    store.objects[LIST.format(first.backup_id)] = b""
    assert pack_lists.needed(cluster.stanza, first) == expected[1]


def test_nothing_is_guessed_when_the_manifest_is_damaged_too(
    cluster: Cluster, store: MemoryStore, history: list[Header]
) -> None:
    last = history[-1]
    store.delete(LIST.format(last.backup_id))
    name = layout.manifest("main", last.backup_id)
    store.objects[name] = store.objects[name][:-1] + bytes([store.objects[name][-1] ^ 1])
    with expect.failure("object_damaged"):
        pack_lists.needed(cluster.stanza, last)
