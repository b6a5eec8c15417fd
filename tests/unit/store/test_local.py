# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local store: durable before it says so, whole or not at all, and never outside its folder."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import durable
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.local import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


OPERATIONS: dict[str, Callable[[LocalStore, str], object]] = {
    "writer": lambda store, name: store.writer(name),
    "put": lambda store, name: store.put(name, b""),
    "get": lambda store, name: store.get(name),
    "get_range": lambda store, name: store.get_range(name, 0, 1),
    "size": lambda store, name: store.size(name),
    "delete": lambda store, name: store.delete(name),
    "list": lambda store, name: list(store.list(f"{name}/")),
}
every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=list(OPERATIONS))


def everything_below(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*"))


# --- durability


def test_success_means_that_bytes_and_name_are_durable(store: LocalStore, durability: list[str]) -> None:
    store.put("name", b"bytes")
    assert durability == [
        "sync " + store.root.parent.name,
        "sync temporary name",
        "rename temporary name to name",
        "sync store",
    ]


def test_success_of_an_exclusive_write_means_the_same(store: LocalStore, durability: list[str]) -> None:
    store.create()
    durability.clear()
    store.put("name", b"bytes", if_absent=True)
    assert durability == ["sync temporary name", "link temporary name to name", "sync store"]


def test_new_folders_are_durable_in_their_parents(store: LocalStore, durability: list[str]) -> None:
    store.create()
    durability.clear()
    store.put("a/b/name", b"bytes")
    assert durability[:2] == ["sync store", "sync a"]
    assert durability[-1] == "sync b"


def test_the_bytes_are_durable_before_the_name_is_seen(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    store.create()
    monkeypatch.setattr(os, "fsync", fail)
    for if_absent in (False, True):
        with pytest.raises(LifeboatError):
            store.put("name", b"bytes", if_absent=if_absent)
    assert everything_below(store.root) == []


# --- whole or not at all


def test_of_many_who_claim_a_name_one_succeeds(store: LocalStore) -> None:
    store.create()
    for round_number in range(10):
        name, start = f"name{round_number}", threading.Barrier(8)
        winners: list[int] = []

        def claim(who: int, name: str, start: threading.Barrier, winners: list[int]) -> None:
            start.wait()
            if store.put(name, b"%d" % who, if_absent=True):
                winners.append(who)

        threads = [threading.Thread(target=claim, args=(who, name, start, winners)) for who in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [store.get(name)] == [b"%d" % who for who in winners]
    assert len(everything_below(store.root)) == 10


def test_a_link_whose_answer_was_lost_is_ours(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def repeated(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", repeated)
    assert store.put("name", b"bytes", if_absent=True)
    monkeypatch.undo()
    assert not store.put("name", b"bytes", if_absent=True)


def test_a_reader_sees_the_old_or_the_new_never_a_part(store: LocalStore) -> None:
    contents = [bytes([number]) * 100_000 for number in range(20)]
    store.put("name", contents[0])
    seen: list[bytes] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(store.get("name"))

    reader = threading.Thread(target=read)
    reader.start()
    for content in contents:
        store.put("name", content)
    done.set()
    reader.join()
    assert set(seen) <= set(contents)


def test_what_a_killed_writer_leaves_is_not_listed(store: LocalStore) -> None:
    writer = store.writer("folder/name")
    writer.write(b"bytes")
    assert len(everything_below(store.root)) == 2
    assert list(store.list("")) == list(store.list("folder/")) == list(store.list("folder/.")) == []


# --- names


@every_operation
@pytest.mark.parametrize(
    "name", ["..", "../outside", "a/../../outside", "/etc/passwd", "a//b", ".", ".hidden", "a/.b/c", ""]
)
def test_a_name_cannot_lead_outside(
    store: LocalStore, operation: Callable[[LocalStore, str], object], name: str
) -> None:
    if name == "" and operation is OPERATIONS["list"]:
        name = "/"
    with expect.failure("object_name_invalid"):
        operation(store, name)
    assert not store.root.exists()


# --- errors


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "storage_full"),
        (errno.EDQUOT, "storage_full"),
        (errno.EACCES, "storage_not_permitted"),
        (errno.EPERM, "storage_not_permitted"),
        (errno.EROFS, "storage_not_permitted"),
        (errno.EIO, "storage_failed"),
    ],
)
def test_the_usual_causes_are_told_apart(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    def fail(*_ignored: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), "the path")

    for function in ("open", "fsync", "mkdir"):
        with monkeypatch.context() as patch, expect.failure(code):
            patch.setattr(os, function, fail)
            LocalStore(store.root / function).put("name", b"bytes")


def test_a_full_disk_is_named_while_writing(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_full(descriptor: int, *_ignored: object, **__: object) -> object:
        os.close(descriptor)
        return Path("/dev/full").open("wb", buffering=0)

    monkeypatch.setattr(os, "fdopen", open_full)
    with expect.failure("storage_full"):
        store.put("name", b"bytes")
    assert everything_below(store.root) == []


@every_operation
def test_no_error_of_the_system_escapes_unexplained(
    store: LocalStore, operation: Callable[[LocalStore, str], object]
) -> None:
    store.create()
    (store.root / "a").symlink_to("a")
    with expect.failure("storage_failed"):
        operation(store, "a/b")


# --- files


def test_only_the_owner_can_read_whatever_the_umask(store: LocalStore) -> None:
    previous = os.umask(0)
    try:
        store.put("folder/name", b"bytes")
    finally:
        os.umask(previous)
    modes = {path.stat().st_mode & 0o777 for path in (store.root, store.root / "folder")}
    assert (modes, (store.root / "folder/name").stat().st_mode & 0o777) == ({0o700}, 0o600)


def test_deleting_takes_empty_folders_along_but_neither_others_nor_the_root(store: LocalStore) -> None:
    for name in ("a/b/c/name", "a/other"):
        store.put(name, b"")
    store.delete("a/b/c/name")
    assert everything_below(store.root) == ["a", "a/other"]
    store.delete("a/other")
    assert store.root.exists()
    assert everything_below(store.root) == []


# --- what was begun and not finished


def test_what_was_not_finished_is_found_and_can_be_discarded(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.put("folder/whole", b"")
    (tmp_path / "store/folder/.nfs000000000000000100000001").touch()
    writer = store.writer("folder/below/half")
    writer.write(b"bytes")
    os.utime(next((tmp_path / "store/folder/below").iterdir()), (1000, 1000))
    (found,) = store.unfinished("folder/")
    assert (found.name, found.since) == ("folder/below/half", datetime.fromtimestamp(1000, timezone.utc))
    assert list(store.unfinished("folder/below/")) == [found]
    assert list(store.unfinished("elsewhere/")) == []
    store.discard(found)
    store.discard(found)
    assert list(store.unfinished("folder/")) == []
    assert not (tmp_path / "store/folder/below").exists()
    with expect.failure("storage_failed"):
        writer.commit()
    assert [info.name for info in store.list("")] == ["folder/whole"]


def test_a_directory_that_was_just_found_empty_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, make_directories = LocalStore(tmp_path / "store"), durable.make_directories
    removed: list[Path] = []

    def overtaken(path: Path, mode: int) -> None:
        make_directories(path, mode)
        if len(removed) < 2:
            removed.append(path)
            path.rmdir()

    monkeypatch.setattr(durable, "make_directories", overtaken)
    store.put("folder/name", b"bytes")
    assert (store.get("folder/name"), len(removed)) == (b"bytes", 2)


def test_a_durable_deletion_is_synced_where_the_name_was(tmp_path: Path, durability: list[str]) -> None:
    store = LocalStore(tmp_path / "store")
    store.put("folder/below/one", b"")
    store.put("folder/other", b"")
    durability.clear()
    store.delete("folder/below/one", durably=True)
    assert durability == ["sync folder"]
    store.delete("folder/other")
    assert durability == ["sync folder"]
