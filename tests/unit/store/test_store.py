# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every store promises, held against the real one and against the fake of the other tests."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.base import ObjectInfo, Store
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.local import LocalStore
from fakes import MemoryStore


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return LocalStore(tmp_path / "store") if request.param == "local" else MemoryStore()


def names(store: Store, prefix: str = "") -> list[str]:
    return [info.name for info in store.list(prefix)]


@pytest.mark.parametrize("data", [b"", b"some bytes"])
def test_what_was_put_is_there(store: Store, data: bytes) -> None:
    assert store.put("folder/name", data)
    assert store.get("folder/name") == data
    assert store.size("folder/name") == len(data)
    assert list(store.list("")) == [ObjectInfo("folder/name", len(data))]


def test_an_object_that_is_missing_is_named(store: Store) -> None:
    assert store.size("nowhere") is None
    for read in (lambda: store.get("nowhere"), lambda: store.get_range("nowhere", 0, 1)):
        with expect.failure("object_missing") as failure:
            read()
        assert failure.value.details["object"] == "nowhere"


def test_a_range_is_exactly_what_was_asked_for(store: Store) -> None:
    store.put("name", b"0123456789")
    assert store.get_range("name", 3, 4) == b"3456"
    assert store.get_range("name", 0, 10) == b"0123456789"
    assert store.get_range("name", 10, 0) == b""


@pytest.mark.parametrize(("offset", "length"), [(7, 4), (10, 1), (99, 1)])
def test_a_range_beyond_the_end_is_an_error(store: Store, offset: int, length: int) -> None:
    store.put("name", b"0123456789")
    with expect.failure("object_truncated") as failure:
        store.get_range("name", offset, length)
    assert failure.value.details["object"] == "name"


def test_putting_again_replaces(store: Store) -> None:
    store.put("name", b"old and long")
    assert store.put("name", b"new")
    assert store.get("name") == b"new"


def test_if_absent_leaves_what_is_there(store: Store) -> None:
    assert store.put("name", b"first", if_absent=True)
    assert not store.put("name", b"second", if_absent=True)
    assert store.get("name") == b"first"
    assert names(store) == ["name"]


def test_a_list_is_of_names_that_start_with_a_string_sorted_as_whole_names(store: Store) -> None:
    choose = random.Random(1)
    parts = ["a", "b", "ab", "a-b", "a.b", "a0", "B"]
    written = {
        f"{'/'.join(choose.choices(parts, k=choose.randint(0, 2)))}/file{choose.choice(parts)}".lstrip("/")
        for _ignored in range(60)
    }
    for name in written:
        store.put(name, b"")
    prefixes = {name[:length] for name in written for length in range(len(name) + 1)} | {"none", "a/none/", "filea/"}
    for prefix in prefixes:
        assert names(store, prefix) == sorted(name for name in written if name.startswith(prefix)), prefix


def test_an_object_is_visible_only_when_committed(store: Store) -> None:
    store.put("name", b"old")
    with store.writer("name") as replacing, store.writer("new") as new:
        replacing.write(b"half of ")
        new.write(b"half of ")
        assert (store.get("name"), names(store)) == (b"old", ["name"])
        for writer in (replacing, new):
            writer.write(b"it")
            writer.commit()
        assert (store.get("name"), store.get("new")) == (b"half of it", b"half of it")
    assert names(store) == ["name", "new"]


@pytest.mark.parametrize("way", ["abort", "leave", "fail"])
def test_what_is_not_committed_leaves_nothing(store: Store, way: str) -> None:
    with contextlib.suppress(ZeroDivisionError), store.writer("name") as writer:
        writer.write(b"bytes")
        if way == "abort":
            writer.abort()
        if way == "fail":
            raise ZeroDivisionError
    assert names(store) == []


def test_abort_after_commit_is_harmless(store: Store) -> None:
    writer = store.writer("name")
    writer.write(b"bytes")
    writer.commit()
    writer.abort()
    assert store.get("name") == b"bytes"


def test_what_was_deleted_is_gone_and_deleting_again_is_no_error(store: Store) -> None:
    store.put("folder/name", b"")
    store.put("folder/other", b"")
    store.delete("folder/name")
    store.delete("folder/name")
    store.delete("no/such/folder")
    assert names(store) == ["folder/other"]
