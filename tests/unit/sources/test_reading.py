# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading a running cluster's files: every byte that was there, in few frames, whatever the server does meanwhile."""

from __future__ import annotations

import os
import random
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import expect
import made_summaries
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.wal_summaries import (
    ChangedBlocks,
    union,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import Warned
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import FileEntry
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.sealed import FRAME_RAW_BYTES
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources import page_check
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.cluster_reader import MAPPED_BYTES
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.content import LocalContent
from fakes import MemoryStore
from round_trip import content, read, readers, sources_in, write

PAGE = 8192
RANDOM = random.Random(1)
TRUSTING: dict[str, Any] = {"refers_to_previous": True, "trusts_previous": True}
SIZES = [
    *(0, 1, 5, PAGE - 1, PAGE, PAGE + 1, MAPPED_BYTES, MAPPED_BYTES + 1),
    *(FRAME_RAW_BYTES - 1, FRAME_RAW_BYTES, FRAME_RAW_BYTES + 1, 4 * FRAME_RAW_BYTES, 5 * FRAME_RAW_BYTES + 7),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data/base/1").mkdir(parents=True)
    return tmp_path / "data"


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def page(lsn: int, *, valid: bool = True, filled: bytes = b"x") -> bytes:
    """A page of a relation; without checksums, what can be wrong is its header."""
    lower, upper = (24, 8000) if valid else (8000, 24)
    return struct.pack("<IIHHHHH", lsn >> 32, lsn & 0xFFFFFFFF, 0, 0, lower, upper, PAGE).ljust(PAGE, filled)


# --- whatever the sizes


def test_files_of_all_sizes_come_back(stanza: Stanza, folder: Path, tmp_path: Path) -> None:
    relations = [
        b"".join(page(1, filled=RANDOM.randbytes(1)) for _ignored in range(-(-size // PAGE)))[:size] for size in SIZES
    ]
    for number, size in enumerate(SIZES):
        put(folder, f"other{number}", RANDOM.randbytes(size))
        put(folder, f"base/1/{number + 1}", relations[number]).chmod(0o640)
    backup = read(stanza, sources_in(folder))
    written = write(stanza, backup, tmp_path / "restored")
    for source in sources_in(folder):
        restored = tmp_path / "restored" / source.name
        assert restored.read_bytes() == source.path.read_bytes(), source.name
        assert restored.stat().st_mode == source.path.stat().st_mode
    assert backup.findings.files == len(written) == 2 * len(SIZES)
    assert backup.done_bytes == 2 * sum(SIZES)
    assert list(backup.by_name) == [source.name for source in sources_in(folder)]


def test_the_chunks_of_a_file_cover_it_exactly(stanza: Stanza, folder: Path) -> None:
    for number in range(60):
        put(folder, f"file{number}", RANDOM.randbytes(int(RANDOM.expovariate(1 / 400_000))))
    for name, entry in read(stanza, sources_in(folder), jobs=3).by_name.items():
        lengths = [chunk.length for chunk in entry.chunks]
        assert sum(lengths) == entry.size == (folder / name).stat().st_size
        assert all(0 < length <= FRAME_RAW_BYTES for length in lengths)
        assert content(stanza, entry) == (folder / name).read_bytes()


def test_small_files_and_the_ends_of_large_ones_share_frames(stanza: Stanza, folder: Path) -> None:
    for number in range(1000):
        put(folder, f"small{number}", b"%d" % number * 100)
    for number in range(5):
        put(folder, f"large{number}", RANDOM.randbytes(FRAME_RAW_BYTES + 10))
    backup = read(stanza, sources_in(folder), jobs=1)
    frames = {chunk.placed for entry in backup.by_name.values() for chunk in entry.chunks}
    assert len(frames) == 5 + 1


def test_what_belongs_to_the_configuration_says_so(stanza: Stanza, folder: Path) -> None:
    source = replace(sources_in(put(folder, "postgresql.conf", b"x = 1\n").parent)[0], area="config")
    assert read(stanza, [source]).by_name["postgresql.conf"].area == "config"


# --- whatever the server does meanwhile


@pytest.mark.parametrize("whole", [0, 5, MAPPED_BYTES // PAGE])
def test_a_relation_that_ends_inside_a_page_is_reported(stanza: Stanza, folder: Path, whole: int) -> None:
    """No server leaves one so, but for a disk that was full; it would not look at the rest itself."""
    data = b"".join(page(1) for _number in range(whole)) + page(1)[:1000]
    put(folder, "base/1/4711", data)
    put(folder, "other", data)
    backup = read(stanza, sources_in(folder))
    assert backup.findings.damaged == [f"base/1/4711 block {whole}"]
    assert content(stanza, backup.by_name["base/1/4711"]) == data


def test_a_file_that_vanished_is_left_out(stanza: Stanza, folder: Path) -> None:
    put(folder, "stays", b"x")
    vanished = put(folder, "vanishes", b"y")
    sources = sources_in(folder)
    vanished.unlink()
    backup = read(stanza, sources)
    assert (list(backup.by_name), backup.findings.files) == (["stays"], 1)


@pytest.mark.parametrize("size", [20 * PAGE, MAPPED_BYTES + 20 * PAGE, 6 * FRAME_RAW_BYTES])
def test_a_file_that_shrinks_is_kept_as_far_as_it_could_be_read(
    stanza: Stanza, folder: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    path = put(folder, "base/1/1", page(1) * (size // PAGE))
    left = 10 * PAGE
    fstat = os.fstat

    def shrinks_after(handle: int) -> os.stat_result:
        facts = fstat(handle)
        os.truncate(path, left)
        return facts

    monkeypatch.setattr(os, "fstat", shrinks_after)
    entry = read(stanza, sources_in(folder)).by_name["base/1/1"]
    assert (entry.size, content(stanza, entry)) == (left, page(1) * 10)


def test_what_grows_after_the_beginning_is_not_followed(
    stanza: Stanza, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(folder, "log", b"before")
    preadv = os.preadv

    def grows_meanwhile(handle: int, windows: list[memoryview], offset: int) -> int:
        with path.open("ab") as stream:
            stream.write(b"after")
        return preadv(handle, windows, offset)

    monkeypatch.setattr(os, "preadv", grows_meanwhile)
    assert content(stanza, read(stanza, sources_in(folder)).by_name["log"]) == b"before"


@pytest.mark.parametrize("number", [1, 1000])
def test_a_file_that_cannot_be_read_is_an_error_of_ours(
    stanza: Stanza, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_ignored: Any) -> bytes:
        raise OSError(5, "Input/output error")

    put(folder, f"base/1/{number}", page(1) * number)
    monkeypatch.setattr(os, "preadv", fail)
    with expect.failure("data_file_not_readable") as failure:
        read(stanza, sources_in(folder))
    assert f"base/1/{number}" in failure.value.message


def test_a_link_is_not_followed(stanza: Stanza, folder: Path) -> None:
    put(folder, "file", b"x")
    (source,) = sources_in(folder)
    (folder / "link").symlink_to("file")
    with expect.failure("data_file_not_readable"):
        read(stanza, [replace(source, path=folder / "link")])


# --- pages


class Disk:
    """Gives what is written in a file, until it has been asked often enough; then what was there all the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, torn: bytes, torn_reads: int) -> None:
        self._pread, self._preadv, self._torn, self._torn_reads = os.pread, os.preadv, torn, torn_reads
        self.reads = 0
        monkeypatch.setattr(os, "pread", self.pread)
        monkeypatch.setattr(os, "preadv", self.preadv)
        monkeypatch.setattr(page_check.time, "sleep", lambda seconds: None)

    def pread(self, handle: int, length: int, offset: int) -> bytes:
        data = self._pread(handle, length, offset)
        self.reads += 1
        return self._torn + data[PAGE:] if offset == 0 and self.reads <= self._torn_reads else data

    def preadv(self, handle: int, windows: list[memoryview], offset: int) -> int:
        (window,) = windows
        data = self.pread(handle, len(window), offset)
        window[: len(data)] = data
        return len(data)


@pytest.mark.parametrize("pages", [2, 100])
@pytest.mark.parametrize("torn_reads", [1, 2, 4])
def test_a_torn_page_is_read_until_it_is_whole(
    stanza: Stanza, folder: Path, monkeypatch: pytest.MonkeyPatch, pages: int, torn_reads: int
) -> None:
    put(folder, "base/1/1", page(10) * pages)
    Disk(monkeypatch, page(10, valid=False), torn_reads)
    backup = read(stanza, sources_in(folder), start_lsn=20)
    assert content(stanza, backup.by_name["base/1/1"]) == page(10) * pages
    assert backup.findings.damaged == []


@pytest.mark.parametrize("pages", [3, 100])
def test_a_page_that_stays_bad_is_reported_and_kept_as_it_is(
    stanza: Stanza, folder: Path, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    data = page(10) * (pages - 1) + page(19, valid=False)
    put(folder, "base/1/16384.2", data)
    monkeypatch.setattr(page_check.time, "sleep", lambda seconds: None)
    backup = read(stanza, sources_in(folder), start_lsn=20)
    block = 2 * 131072 + pages - 1
    assert backup.findings.damaged == [f"base/1/16384.2 block {block}"]
    assert [event.message for event in backup.sink.events if isinstance(event, Warned)] == [
        f"damaged page: block {block} of base/1/16384.2"
    ]
    assert content(stanza, backup.by_name["base/1/16384.2"]) == data


@pytest.mark.parametrize("lsn", [20, 21])
def test_a_bad_page_that_replay_writes_anew_is_no_finding(
    stanza: Stanza, folder: Path, monkeypatch: pytest.MonkeyPatch, lsn: int
) -> None:
    put(folder, "base/1/1", page(lsn, valid=False))
    disk = Disk(monkeypatch, b"", 0)
    assert read(stanza, sources_in(folder), start_lsn=20).findings.damaged == []
    assert disk.reads == 1


@pytest.mark.parametrize("pages", [2, 100])
def test_a_page_newer_than_the_backups_last_wal_is_damaged(stanza: Stanza, folder: Path, pages: int) -> None:
    put(folder, "base/1/1", page(10) * (pages - 1) + page(30, valid=False))
    for stop_lsn, damaged in ((30, []), (29, [f"base/1/1 block {pages - 1}"])):
        findings = read(stanza, sources_in(folder), start_lsn=20).findings
        findings.judge_excused(stop_lsn)
        assert findings.damaged == damaged


@pytest.mark.parametrize("refers_to_previous", [True, False])
@pytest.mark.parametrize("pages", [2, 100, 3000])
def test_a_page_that_was_found_good_is_judged_again_only_when_its_bytes_have_changed(
    stanza: Stanza, folder: Path, monkeypatch: pytest.MonkeyPatch, pages: int, refers_to_previous: bool
) -> None:
    blocks = [page(1, filled=b"%d" % (number % 10)) for number in range(pages)]
    path = put(folder, "base/1/1", b"".join(blocks))
    first = read(stanza, sources_in(folder)).by_name
    judged: list[list[tuple[int, int]]] = []
    bad_pages = page_check.pages.bad_pages

    def spy(buffer: Any, first_block: int, **how: Any) -> Any:
        judged.append([(first_block + start, first_block + end) for start, end in how["ranges"] or []])
        return bad_pages(buffer, first_block, **how)

    monkeypatch.setattr(page_check.pages, "bad_pages", spy)
    how = {"refers_to_previous": refers_to_previous, "trusts_previous": True}
    later(stanza, folder, first, **how)
    assert judged == []
    blocks[-1] = page(2, valid=False)
    path.write_bytes(b"".join(blocks))
    sources = [replace(source, previous=first[source.name]) for source in sources_in(folder)]
    assert read(stanza, sources, **how).findings.damaged == [f"base/1/1 block {pages - 1}"]
    assert judged[0] == ([(pages - 1, pages)] if pages > 2 else [])


@pytest.mark.parametrize("lsn", [10, 25])
@pytest.mark.parametrize("pages", [2, 100])
def test_a_page_that_was_not_found_good_is_judged_again(
    stanza: Stanza, folder: Path, monkeypatch: pytest.MonkeyPatch, pages: int, lsn: int
) -> None:
    put(folder, "base/1/1", page(10) * (pages - 1) + page(lsn, valid=False))
    monkeypatch.setattr(page_check.time, "sleep", lambda seconds: None)
    first = read(stanza, sources_in(folder), start_lsn=20).by_name
    assert first["base/1/1"].unproven == (pages - 1,)
    sources = [replace(source, previous=first["base/1/1"]) for source in sources_in(folder)]
    again = read(stanza, sources, start_lsn=40, trusts_previous=True, refers_to_previous=True)
    assert again.findings.damaged == [f"base/1/1 block {pages - 1}"]
    assert again.by_name["base/1/1"].unproven == (pages - 1,)


def test_only_relations_are_judged(stanza: Stanza, folder: Path) -> None:
    put(folder, "base/1/pg_filenode.map", page(1, valid=False))
    put(folder, "base/1/1", page(1, valid=False))
    sources = [replace(source, area="config") for source in sources_in(folder) if source.name == "base/1/1"]
    assert read(stanza, sources).findings.damaged == []
    (folder / "base/1/1").unlink()
    assert read(stanza, sources_in(folder)).findings.damaged == []


# --- since the last backup


def later(stanza: Stanza, folder: Path, earlier: dict[str, FileEntry], **how: Any) -> dict[str, FileEntry]:
    sources = [replace(source, previous=earlier.get(source.name)) for source in sources_in(folder)]
    return read(stanza, sources, **how).by_name


def packs_of(entries: dict[str, FileEntry]) -> set[str]:
    return {pack for entry in entries.values() for pack in entry.packs()}


def test_what_has_not_changed_is_not_stored_again(stanza: Stanza, store: MemoryStore, folder: Path) -> None:
    put(folder, "file", RANDOM.randbytes(1000))
    put(folder, "base/1/1", page(1) * 100)
    first = read(stanza, sources_in(folder)).by_name
    before = dict(store.objects)
    assert later(stanza, folder, first, refers_to_previous=True) == first
    assert store.objects == before


def test_a_full_backup_refers_to_nothing_older(stanza: Stanza, folder: Path) -> None:
    put(folder, "file", RANDOM.randbytes(1000))
    put(folder, "base/1/1", page(1) * 100)
    first = read(stanza, sources_in(folder)).by_name
    again = later(stanza, folder, first)
    assert not packs_of(first) & packs_of(again)


@pytest.mark.parametrize("pages", [40, 700])
def test_of_a_large_relation_only_changed_pages_are_stored(
    stanza: Stanza, store: MemoryStore, folder: Path, pages: int
) -> None:
    blocks = [page(1, filled=RANDOM.randbytes(1)) for _ignored in range(pages)]
    path = put(folder, "base/1/1", b"".join(blocks))
    entries = read(stanza, sources_in(folder)).by_name
    for step in range(8):
        for _ignored in range(RANDOM.randint(0, 5)):
            blocks[RANDOM.randrange(len(blocks))] = page(2 + step, filled=RANDOM.randbytes(1))
        blocks += [page(2 + step) for _ignored in range(RANDOM.randint(0, 3))]
        del blocks[len(blocks) - RANDOM.randint(0, 3) :]
        path.write_bytes(b"".join(blocks))
        stored = sum(map(len, store.objects.values()))
        entries = later(stanza, folder, entries, refers_to_previous=True)
        assert content(stanza, entries["base/1/1"]) == b"".join(blocks)
        assert sum(map(len, store.objects.values())) - stored < 20_000 + 17 * len(blocks)


def tell(folder: Path, *entries: bytes) -> ChangedBlocks:
    """What a server has noted."""
    changed = union([made_summaries.summary(folder / "summaries", 1, 2, *entries)])
    assert changed is not None
    return changed


@pytest.mark.parametrize("pages", [40, 700, 1300])
def test_where_it_is_known_what_has_changed_only_that_is_read(
    stanza: Stanza, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    blocks = [page(1, filled=RANDOM.randbytes(1)) for _ignored in range(pages)]
    path = put(folder, "base/1/1", b"".join(blocks))
    entries = read(stanza, sources_in(folder)).by_name
    asked: list[tuple[int, int]] = []
    read_into = LocalContent.read_into

    def noted(content: LocalContent, window: memoryview, offset: int) -> int:
        asked.append((offset // PAGE, len(window) // PAGE))
        return read_into(content, window, offset)

    for step in range(6):
        changed = sorted(RANDOM.sample(range(len(blocks)), RANDOM.randint(0, 5)))
        for block in changed:
            blocks[block] = page(2 + step, filled=RANDOM.randbytes(1))
        before = len(blocks)
        blocks += [page(2 + step) for _ignored in range(RANDOM.randint(0, 3))]
        path.write_bytes(b"".join(blocks))
        monkeypatch.setattr(LocalContent, "read_into", noted)
        asked.clear()
        entries = later(
            stanza, folder, entries, **TRUSTING, changed_blocks=tell(tmp_path, made_summaries.entry(changed))
        )
        monkeypatch.undo()
        assert content(stanza, entries["base/1/1"]) == b"".join(blocks)
        looked_at = {first + number for first, count in asked for number in range(count)}
        assert looked_at == {*changed, *range(before, len(blocks))}


def test_what_is_not_named_is_as_it_was(stanza: Stanza, folder: Path, tmp_path: Path) -> None:
    """A hint that the server did not log, for example, need not be in the backup."""
    path = put(folder, "base/1/1", page(1) * 100)
    first = read(stanza, sources_in(folder)).by_name
    path.write_bytes(page(1) * 5 + page(1, filled=b"h") + page(1) * 50 + page(1, filled=b"n") + page(1) * 43)
    told = later(stanza, folder, first, **TRUSTING, changed_blocks=tell(tmp_path, made_summaries.entry([56])))[
        "base/1/1"
    ]
    assert content(stanza, told) == page(1) * 56 + page(1, filled=b"n") + page(1) * 43
    made_anew = tell(tmp_path, made_summaries.entry([], limit=0))
    read_again = later(stanza, folder, first, **TRUSTING, changed_blocks=made_anew)["base/1/1"]
    assert content(stanza, read_again) == path.read_bytes()


@pytest.mark.parametrize("now", [400, 402])
def test_a_page_that_was_there_in_part_is_read_again(
    stanza: Stanza, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: int
) -> None:
    """The server was just extending the file, and had come to the page's end when that was looked at once more."""
    path = put(folder, "base/1/1", page(1) * 399 + bytes(1000))
    with monkeypatch.context() as patch:
        patch.setattr(LocalContent, "read_again", lambda _content, length, _offset: bytes(length))
        first = read(stanza, sources_in(folder)).by_name
    assert (first["base/1/1"].size % PAGE, first["base/1/1"].unproven) == (1000, ())
    path.write_bytes(page(1) * 399 + bytes((now - 399) * PAGE))
    grown = later(stanza, folder, first, **TRUSTING, changed_blocks=tell(tmp_path, made_summaries.entry([])))
    assert content(stanza, grown["base/1/1"]) == path.read_bytes()


def test_of_named_pages_bad_ones_are_told_and_looked_at_again_next_time(
    stanza: Stanza, folder: Path, tmp_path: Path
) -> None:
    path = put(folder, "base/1/1", page(1) * 600)
    entries = read(stanza, sources_in(folder)).by_name
    path.write_bytes(page(1) * 70 + page(1, valid=False) + page(1) * 529)
    sources = [replace(source, previous=entries[source.name]) for source in sources_in(folder)]
    backup = read(stanza, sources, **TRUSTING, changed_blocks=tell(tmp_path, made_summaries.entry([70, 80])))
    assert backup.findings.damaged == ["base/1/1 block 70"]
    entries = backup.by_name
    assert entries["base/1/1"].unproven == (70,)
    assert content(stanza, entries["base/1/1"]) == path.read_bytes()
    path.write_bytes(page(1) * 600)  # mended behind the server's back
    entries = later(stanza, folder, entries, **TRUSTING, changed_blocks=tell(tmp_path, made_summaries.entry([])))
    assert content(stanza, entries["base/1/1"]) == path.read_bytes()


@pytest.mark.parametrize("left", [0, 10, 511, 512, 513, 590])
def test_a_file_that_shrinks_while_named_pages_are_read_is_kept_as_far_as_it_goes(
    stanza: Stanza, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    path = put(folder, "base/1/1", page(1) * 600)
    entries = read(stanza, sources_in(folder)).by_name
    read_into = LocalContent.read_into

    def after_shrinking(content: LocalContent, window: memoryview, offset: int) -> int:
        os.truncate(path, left * PAGE)
        return read_into(content, window, offset)

    monkeypatch.setattr(LocalContent, "read_into", after_shrinking)
    named = tell(tmp_path, made_summaries.entry(range(0, 600, 2)))
    shrunk = later(stanza, folder, entries, **TRUSTING, changed_blocks=named)["base/1/1"]
    assert left * PAGE <= shrunk.size <= (left + 1) * PAGE
    assert content(stanza, shrunk) == page(1) * (shrunk.size // PAGE)


def test_an_incremental_stores_what_has_changed_whatever_the_size(
    stanza: Stanza, store: MemoryStore, folder: Path
) -> None:
    stored = []
    for number, pages in enumerate((500, 5000)):
        path = put(folder, f"base/1/{number + 1}", page(1) * pages)
        entries = read(stanza, sources_in(folder)).by_name
        with path.open("r+b") as stream:
            for block in range(0, 500, 50):
                stream.seek(block * PAGE)
                stream.write(page(2, filled=b"y"))
        before = sum(map(len, store.objects.values()))
        entries = later(stanza, folder, entries, refers_to_previous=True)
        stored.append(sum(map(len, store.objects.values())) - before)
        assert content(stanza, entries[f"base/1/{number + 1}"]) == path.read_bytes()
    assert stored[1] < stored[0] + 200


def test_a_page_that_changed_back_keeps_the_pack_it_is_read_from(stanza: Stanza, folder: Path) -> None:
    """Even when every other page of that pack has been replaced: who reads takes it from there."""
    old, new = ([page(lsn, filled=bytes([block % 256])) for block in range(300)] for lsn in (1, 2))
    path = put(folder, "base/1/1", b"".join(old))
    entries = read(stanza, sources_in(folder)).by_name
    for ninth in (old[9], new[9], old[9]):
        path.write_bytes(b"".join([*new[:9], ninth, *new[10:]]))
        entries = later(stanza, folder, entries, refers_to_previous=True)
        entry = entries["base/1/1"]
        assert content(stanza, entry) == path.read_bytes()
        assert readers(stanza)[0].block_map(entry).places.packs() <= set(entry.map_packs or ())


def test_a_change_behind_the_servers_back_is_told_by_the_next_full_backup(stanza: Stanza, folder: Path) -> None:
    put(folder, "base/1/1", page(1) * 100)
    put(folder, "file", b"x" * 100)
    first = read(stanza, sources_in(folder)).by_name
    for name in ("base/1/1", "file"):
        path = folder / name
        facts = path.stat()
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    sources = [replace(source, previous=first[source.name], expected_same=True) for source in sources_in(folder)]
    assert sorted(read(stanza, sources).findings.missed) == ["base/1/1", "file"]
    for name in ("base/1/1", "file"):  # and written to by the server, after it was found and before it was opened
        os.utime(folder / name, (1, 1))
    assert read(stanza, sources).findings.missed == []
    put(folder, "base/1/1", first and page(1) * 100)
    put(folder, "file", b"x" * 100)
    assert read(stanza, sources).findings.missed == []
