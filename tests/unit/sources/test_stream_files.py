# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server sends, taken apart and read by workers: the same as reading its files."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import (
    InterruptedJobError,
    StorageError,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.base_backup import Tablespace
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import Warned
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.digests import Digester
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import (
    DirectoryEntry,
    Entry,
    FileEntry,
    parse_entry,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.packs import PackReader, PackWriter
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.sealed import FRAME_RAW_BYTES
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources import stream_files
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.cluster_reader import (
    MAPPED_BYTES,
    Findings,
    Reading,
    Worker,
    read_files,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.content import Handover, StreamContent
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.entry_spool import EntrySpool
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.page_check import PageCheck
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.path_index import PathIndex
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.stream_files import StreamFiles
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.tally import ByteTally
from fakes import Collector, MemoryStore, SteppedClock
from made_archives import archive, pieces
from round_trip import GENERATION, content

PAGE = 8192
RANDOM = random.Random(4)
BASE = Tablespace(None, "", 0)
LABEL, CONTROL = ("backup_label", b"START\n", None), ("global/pg_control", b"control", None)
Files = Sequence[tuple[str, "bytes | None", "str | None"]]


def page(lsn: int, *, valid: bool = True, filled: bytes = b"x") -> bytes:
    lower, upper = (24, 8000) if valid else (8000, 24)
    return struct.pack("<IIHHHHH", lsn >> 32, lsn & 0xFFFFFFFF, 0, 0, lower, upper, PAGE).ljust(PAGE, filled)


@dataclass
class Received:
    """What taking archives apart has given."""

    entries: list[Entry]
    files: StreamFiles
    findings: Findings
    sink: Collector

    @property
    def by_name(self) -> dict[str, FileEntry]:
        return {entry.path: entry for entry in self.entries if isinstance(entry, FileEntry)}


def receive(
    stanza: Stanza,
    archives: Sequence[tuple[Tablespace, Iterator[memoryview]]],
    known: Sequence[FileEntry] = (),
    *,
    start_lsn: int = 1 << 40,
    jobs: int = 2,
) -> Received:
    """Receive archives as a backup does."""
    repository = stanza.repository

    def name_of(pack_id: str) -> str:
        return stanza.pack_name(GENERATION, pack_id)

    def worker() -> Worker:
        data, maps = (PackWriter(repository.store, repository.keys, role, name_of, 3) for role in ("data", "metadata"))
        return Worker(data, maps, old_maps, reading, ByteTally(sink, 0), findings)

    sink = Collector()
    reading = Reading(
        PageCheck(checksums=False, start_lsn=start_lsn),
        Digester(repository.keys.digest_seed),
        refers_to_previous=True,
        journal=lambda lines: None,
        journal_every=1 << 40,
    )
    old_maps = PackReader(repository.store, repository.keys_of, "metadata", name_of)
    with EntrySpool() as spool, PathIndex() as index:
        index.know(known)
        findings = Findings(spool, sink)
        files = StreamFiles(index, spool, SteppedClock(), sink)
        read_files(files.sources(archives), [worker() for _ignored in range(jobs)], files.failed)
        entries = [parse_entry(line) for line in spool.lines_of(index.in_order())]
    return Received(entries, files, findings, sink)


def base(files: Files, longest: int = 50_000) -> list[tuple[Tablespace, Iterator[memoryview]]]:
    return [(BASE, pieces(archive(LABEL, *files, CONTROL), longest))]


def relation(size: int) -> bytes:
    return b"".join(page(1, filled=RANDOM.randbytes(1)) for _ignored in range(-(-size // PAGE)))[:size]


SIZES = [0, 1, PAGE, MAPPED_BYTES, MAPPED_BYTES + 1, FRAME_RAW_BYTES - 1, FRAME_RAW_BYTES + 1, 5 * FRAME_RAW_BYTES + 7]
MIXED = [
    *((f"other{number}", RANDOM.randbytes(size), None) for number, size in enumerate(SIZES)),
    *((f"base/1/{number + 1}", relation(size), None) for number, size in enumerate(SIZES)),
    *((f"pg_xact/{number:04X}", b"%d" % number * 90, None) for number in range(300)),
]


@pytest.mark.parametrize("jobs", [1, 3])
def test_files_of_all_sizes_arrive(stanza: Stanza, jobs: int) -> None:
    shuffled = RANDOM.sample(MIXED, len(MIXED))
    received = receive(stanza, base(shuffled), jobs=jobs)
    for name, data, _target in MIXED:
        assert content(stanza, received.by_name[name]) == data, name
    assert list(received.by_name) == sorted((name for name, _data, _target in MIXED), key=lambda name: name.split("/"))
    assert received.findings.files == len(MIXED)
    assert (received.files.backup_label, received.files.control) == ("START\n", b"control")
    assert {entry.mtime_ns for entry in received.by_name.values()} == {1_700_000_000 * 10**9}
    assert {entry.mode for entry in received.by_name.values()} == {0o640}


def test_tablespaces_have_paths_that_lead_through_their_links(stanza: Stanza) -> None:
    linked, inside = Tablespace("16384", "/srv/ts", 0), Tablespace("16390", "pg_tblspc/16390", 0)
    files: Files = [("PG_15_1", None, None), ("PG_15_1/5/1", b"x", None)]
    received = receive(
        stanza,
        [
            (linked, pieces(archive(*files), 90)),
            (inside, pieces(archive(*files), 90)),
            *base(
                [("pg_tblspc/", None, None), ("./pg_wal/archive_status/", None, None), ("tablespace_map", b"", None)]
            ),
        ],
    )
    assert received.files.tablespaces == {"16384": "/srv/ts"}
    assert [entry.path for entry in received.entries] == [
        "pg_tblspc",
        "pg_tblspc/16384/PG_15_1",
        "pg_tblspc/16384/PG_15_1/5/1",
        "pg_tblspc/16390",
        "pg_tblspc/16390/PG_15_1",
        "pg_tblspc/16390/PG_15_1/5/1",
        "pg_wal/archive_status",
    ]
    assert isinstance(received.entries[0], DirectoryEntry)


def test_what_has_not_changed_is_not_stored_again(stanza: Stanza, store: MemoryStore) -> None:
    first = receive(stanza, base(MIXED)).by_name
    stored = sum(map(len, store.objects.values()))
    changed = {name: data for name, data, _target in MIXED}
    changed["base/1/8"] = page(2) + (changed["base/1/8"] or b"")[PAGE:]
    changed["pg_xact/0007"] = b"new"
    second = receive(stanza, base([(name, data, None) for name, data in changed.items()]), list(first.values())).by_name
    for name, data in changed.items():
        assert content(stanza, second[name]) == data
    # A file of 5 MiB that is no relation has no pages to compare, and is stored again.
    large = sum(len(data or b"") for name, data, _target in MIXED if name == "other7")
    assert sum(map(len, store.objects.values())) - stored < large + 30_000


def test_a_bad_page_is_a_finding_at_once_unless_replay_writes_it(stanza: Stanza) -> None:
    bad = page(10) * 99 + page(10, valid=False)
    received = receive(
        stanza,
        base([("base/1/1", bad, None), ("base/1/2", bad, None), ("base/1/3", page(30, valid=False), None)]),
        start_lsn=20,
    )
    assert sorted(received.findings.damaged) == ["base/1/1 block 99", "base/1/2 block 99"]
    assert content(stanza, received.by_name["base/1/1"]) == bad


def test_a_relation_that_ends_in_the_midst_of_a_page_is_a_finding(stanza: Stanza) -> None:
    whole = page(10) * 3
    received = receive(stanza, base([("base/1/1", whole, None), ("base/1/2", whole[:-1000], None)]))
    assert received.findings.damaged == ["base/1/2 block 2"]


def test_how_far_the_servers_clock_is_ahead_is_seen_from_its_label(stanza: Stanza) -> None:
    assert receive(stanza, base([])).files.clock_ahead == 1_700_000_000 - 100


@pytest.mark.parametrize("missing", [LABEL, CONTROL])
def test_a_stream_without_label_or_control_file_is_no_backup(stanza: Stanza, missing: tuple[str, bytes, None]) -> None:
    parts = [each for each in (LABEL, ("PG_VERSION", b"15", None), CONTROL) if each != missing]
    with expect.failure("base_backup_incomplete"):
        receive(stanza, [(BASE, pieces(archive(*parts)))])


@pytest.mark.parametrize("name", ["/etc/passwd", "base/../../x", "..", "./../x"])
def test_paths_that_leave_the_directory_are_refused(stanza: Stanza, name: str) -> None:
    with expect.failure("tar_path_invalid"):
        receive(stanza, base([(name, b"x", None)]))


def test_a_link_that_is_no_tablespace_is_named(stanza: Stanza) -> None:
    received = receive(stanza, base([("elsewhere", None, "/srv/x")]))
    assert [event.message for event in received.sink.events if isinstance(event, Warned)] == [
        "the symbolic link elsewhere is not included"
    ]


# --- failures: everybody stops, and the one who failed is told


def cut(data: bytes, error: Exception) -> Iterator[memoryview]:
    yield from pieces(data, 10_000)
    raise error


@pytest.mark.parametrize("size", [100, 6 << 20, 100 << 20])
def test_a_stream_that_breaks_off_ends_the_workers(stanza: Stanza, size: int) -> None:
    """In the midst of a file that a worker waits for, too."""
    data = archive(LABEL, ("base/1/1", bytes(size), None))
    lost = InterruptedJobError("receiving", "the connection was lost.", "Try again.", code="server_connection_lost")
    with expect.failure("server_connection_lost"):
        receive(stanza, [(BASE, cut(data[: len(data) - 600], lost))])


def test_workers_that_fail_end_the_stream(stanza: Stanza, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although nobody reads any more what it brings."""
    full = StorageError("writing", "the disk is full.", "Free space.", code="storage_full")

    def fail(*_ignored: object) -> None:
        raise full

    monkeypatch.setattr(stanza.repository.store, "writer", fail)
    endless = ((BASE, pieces(archive(LABEL, ("base/1/1", bytes(64 << 20), None)), 0)) for _ignored in range(10**6))
    with expect.failure("storage_full"):
        receive(stanza, endless, jobs=1)  # type: ignore[arg-type]


def test_no_more_waits_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch, stanza: Stanza) -> None:
    most = 0
    give = StreamContent.give

    def watched(self: StreamContent, piece: memoryview) -> bool:
        nonlocal most
        given = give(self, piece)
        most = max(most, stream_files._WAITING_BYTES - self._handover.room)
        return given

    monkeypatch.setattr(StreamContent, "give", watched)
    receive(stanza, base([(f"base/1/{number}", bytes(40 << 20), None) for number in range(1, 4)]))
    assert 0 < most <= stream_files._WAITING_BYTES + (1 << 20)


def test_content_comes_in_whatever_windows_are_asked_for() -> None:
    data = RANDOM.randbytes(10_000)
    incoming = StreamContent(Handover(1 << 20), len(data), 0, 0o600)
    for piece in pieces(data, 700):
        assert incoming.give(piece)
    found = bytearray()
    while len(found) < len(data):
        window = bytearray(RANDOM.randint(1, 900))
        count = incoming.read_into(memoryview(window), len(found))
        assert count == min(len(window), len(data) - len(found))
        found += window[:count]
    assert found == data
    assert incoming.read_into(memoryview(bytearray(5)), len(found)) == 0
