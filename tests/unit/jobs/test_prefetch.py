# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The background of restore_command: only whole, checked segments of this life lie ready, nothing stays behind, and the
archive ends only where it does.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import expect
import made
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import (
    background,
    cli,
    durable,
    foreground,
    wal_spool,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock, SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.wal import fetch, prefetch
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.access import stanza_of
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.wal import ArchivedFile, WalArchive
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import RepositorySpec
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.local import LocalStore
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.wal_spool import (
    FETCH,
    MISSING,
    READY,
    UNDECIDED,
    WalSpool,
)
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
def fetching(
    spec: RepositorySpec, spool: WalSpool, ahead: int = 3, greeting: str = "hello"
) -> Iterator[threading.Thread]:
    """The background, at work until the block or its reason ends."""
    request = prefetch.PrefetchRequest(
        spec, "main", LIFE, Path(spool.data_directory), greeting, 2, ahead * made.SEGMENT_BYTES
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


def ask(spool: WalSpool, name: str) -> str:
    """The background's answer."""
    return wal_spool.ask(spool.bell(FETCH), f"hello{wal_spool.WANTED}{name}", 60)


def test_it_stays_ahead_but_not_too_far(on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool) -> None:
    with fetching(on_disk, spool):
        assert ask(spool, name_of(5)) == READY
        for number in range(5, 13):
            last = min(number + 2, 12)
            expect.soon(lambda last=last, number=number: ready(spool) == list(range(number, last + 1)))  # type: ignore[misc]
            taken = Path(spool.fetched, name_of(number)).rename(Path(spool.wal, "RECOVERYXLOG"))
            assert taken.read_bytes() == wal(number)


def test_what_is_wanted_elsewhere_is_brought(on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool) -> None:
    with fetching(on_disk, spool):
        assert ask(spool, name_of(5)) == READY
        expect.soon(lambda: ready(spool) == [5, 6, 7])
        assert ask(spool, name_of(11)) == READY  # behind all that is there
        expect.soon(lambda: ready(spool) == [11, 12])
        assert ask(spool, name_of(10)) == READY  # once more
        expect.soon(lambda: ready(spool) == [10, 11, 12])
        archive.store("00000002.history", b"1\t0/1\tno reason\n")
        assert ask(spool, "00000002.history") == READY
        assert Path(spool.fetched, "00000002.history").read_bytes() == b"1\t0/1\tno reason\n"


def test_the_archive_ends_where_nothing_is_behind(
    on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool
) -> None:
    with fetching(on_disk, spool):
        assert ask(spool, name_of(15)) == MISSING
        assert ask(spool, "00000002.history") == MISSING
        assert ask(spool, name_of(13)) == UNDECIDED  # a gap
        assert ask(spool, "what PostgreSQL never asks for") == UNDECIDED
        archive.partials.store(name_of(15), wal(15)[:100])
        assert ask(spool, name_of(15)) == UNDECIDED  # there is its beginning
        archive.store(name_of(15), wal(15))
        assert ask(spool, name_of(15)) == READY


@pytest.mark.parametrize("lost", ["all of it", "the stanza", "the key"])
def test_a_repository_that_vanishes_does_not_end(
    on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool, lost: str
) -> None:
    root = Path(on_disk.url)
    path = {"all of it": root, "the stanza": root / "stanzas", "the key": root.parent / "key"}[lost]
    with fetching(on_disk, spool):
        assert ask(spool, name_of(15)) == MISSING
        path.rename(root.parent / "elsewhere")
        assert ask(spool, name_of(15)) == UNDECIDED
        assert ask(spool, "00000002.history") == UNDECIDED


def test_an_earlier_look_says_nothing_of_what_has_come_since(
    on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, looked, go_on = WalArchive.beside, threading.Event(), threading.Event()

    def slowly(self: WalArchive, file_name: str) -> dict[str, ArchivedFile]:
        found = beside(self, file_name)
        if file_name == name_of(15) and not looked.is_set():
            looked.set()
            assert go_on.wait(60)
        return found

    with fetching(on_disk, spool), ThreadPoolExecutor() as others:
        monkeypatch.setattr(WalArchive, "beside", slowly)
        assert ask(spool, name_of(14)) == READY
        assert looked.wait(60)  # ahead, for the next one: it is not there yet
        archive.store(name_of(15), wal(15))
        answer = others.submit(ask, spool, name_of(15))
        expect.soon(lambda: not answer.done() and ask(spool, name_of(14)) == READY)
        go_on.set()
        assert answer.result() == READY


def test_who_waits_is_told_that_the_background_ends(
    on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, go_on = threading.Event(), threading.Event()

    def for_ever(self: WalArchive, file_name: str) -> dict[str, ArchivedFile]:
        looking.set()
        assert go_on.wait(60)
        return {}

    with fetching(on_disk, spool), ThreadPoolExecutor() as others:
        monkeypatch.setattr(WalArchive, "beside", for_ever)
        answer = others.submit(ask, spool, name_of(5))
        assert looking.wait(60)
        assert wal_spool.ask(spool.bell(FETCH), f"other options{wal_spool.WANTED}{name_of(5)}", 60) == ""
        assert answer.result(30) == ""  # long before its patience ends
        go_on.set()
    assert ask(spool, name_of(5)) == ""


@pytest.fixture
def called(
    on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], int]:
    """`restore_command`, by the server that recovers."""
    monkeypatch.chdir(spool.data_directory)

    def call(name: str) -> int:
        monkeypatch.setattr(
            "sys.argv", ["lifeboat", "archive-fetch", *options_of(on_disk), name, "pg_wal/RECOVERYXLOG"]
        )
        return foreground.main()

    return call


def options_of(spec: RepositorySpec) -> list[str]:
    key_file = str(spec.key.key_file)
    return ["--repository", spec.url, "--key-file", key_file, "--stanza", "main", "--incarnation", LIFE]


def test_the_foreground_takes_the_answer(
    on_disk: RepositorySpec,
    archive: WalArchive,
    spool: WalSpool,
    called: Callable[[str], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def by_itself(request: fetch.FetchRequest) -> bool:
        raise RuntimeError(request.file_name)

    monkeypatch.setattr(fetch, "fetch", by_itself)
    with fetching(on_disk, spool, greeting=wal_spool.greeting(options_of(on_disk))):
        for number in (14, 5, 6):
            assert called(name_of(number)) == 0
            assert Path(spool.wal, "RECOVERYXLOG").read_bytes() == wal(number)
        assert called(name_of(15)) == 1
        assert called("00000002.history") == 1
        assert called(name_of(13)) == cli.STOP_RECOVERY  # it would have looked itself


def test_without_a_background_the_foreground_does_it(
    spool: WalSpool, called: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreground.detached, "command", lambda _words: ["/bin/false"])
    assert called(name_of(5)) == 0
    assert Path(spool.wal, "RECOVERYXLOG").read_bytes() == wal(5)
    assert called(name_of(15)) == 1
    assert called(name_of(13)) == cli.STOP_RECOVERY


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
    with fetching(on_disk, spool, 8), ThreadPoolExecutor() as others:
        others.submit(ask, spool, name_of(5))
        expect.soon(lambda: len(read) == 4)  # by two that read
        assert ready(spool) == []
        disk.set()
        expect.soon(lambda: ready(spool) == list(range(5, 13)))


def test_the_next_segments_are_one_request_each(
    on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted(method: str) -> list[str]:
        original, segments = getattr(LocalStore, method), list[str]()

        def call(self: LocalStore, name: str, *arguments: int) -> object:
            if "/wal/" in name:
                segments.append(name.rpartition("/")[2].partition("-")[0])
            return original(self, name, *arguments)

        monkeypatch.setattr(LocalStore, method, call)
        return segments

    names = [name_of(number, timeline=2) for number in range(5, 13)]
    for number, name in enumerate(names, 5):
        head = wal(number, timeline=2)[:100]  # and something that no compression makes smaller than a frame
        archive.store(name, head + os.urandom(made.SEGMENT_BYTES - len(head)))
    read, listed = counted("get_range"), counted("list")
    with fetching(on_disk, spool, 20):
        assert ask(spool, names[0]) == READY
        expect.soon(lambda: ready(spool) == list(range(5, 13)))
    assert sorted(read) == names
    assert len(listed) <= 8  # by four at once in the beginning, and again for those that are missing


def test_a_damaged_segment_never_lies_ready(on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool) -> None:
    archived = archive.find(name_of(6))
    assert archived is not None
    path = Path(on_disk.url, archived.object_name)
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    with fetching(on_disk, spool):
        assert ask(spool, name_of(5)) == READY
        assert ask(spool, name_of(6)) == UNDECIDED
        assert 6 not in ready(spool)


@pytest.mark.parametrize("reason", ["recovery.signal", "postmaster.pid"])
def test_it_ends_with_the_recovery_and_leaves_nothing(
    on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool, reason: str
) -> None:
    with fetching(on_disk, spool) as thread:
        assert ask(spool, name_of(5)) == READY
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


def test_one_that_comes_while_another_is_ending_leaves_no_folder_behind(
    on_disk: RepositorySpec, archive: WalArchive, spool: WalSpool
) -> None:
    """The one that ends has removed what it had fetched, and still holds the lock."""
    os.makedirs(spool.folder)
    request = prefetch.PrefetchRequest(on_disk, "main", LIFE, Path(spool.data_directory))
    with background.only_one(spool.lock(FETCH)) as alone:
        assert alone and not prefetch.run(request, SystemClock())
        assert not Path(spool.fetched).exists()
