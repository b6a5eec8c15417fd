# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When an incremental may read only what WAL summaries name. Each test changes a page that no summary names: only
where they may be believed is it taken over from the last backup, in all other cases it must be read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import made
import pytest
import round_trip
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.backup import (
    summaries as wal_summary_wait,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.wal_names import Lsn, format_lsn
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.wal_summaries import union
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import Warned
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import FileEntry, Header
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.file_reader import FileReader
from fakes import Collector, SteppedClock
from made_cluster import Cluster
from made_summaries import entry, summary

PAGE = 8192
PAGES = 40
NAMED, UNNAMED = 3, 30
RELATION = "base/1/16384"
FIRST = (0x200028, 0x300500)
SECOND = (0x400028, 0x500500)


def page(filled: bytes) -> bytes:
    """One that looks good, as far as that can be seen without checksums."""
    return struct.pack("<IIHHHHH", 0, 1, 0, 0, 24, 8000, PAGE).ljust(PAGE, filled)


BEFORE, AFTER, BAD = page(b"a"), page(b"b"), b"\x01" * PAGE


class Server:
    """A cluster that notes what its WAL changes, with one relation that has a block map."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        cluster.settings["summarize_wal"] = "on"
        for name in ("1259", "2619"):  # hardly relations
            (cluster.data / "base/1" / name).unlink()
        self.put(RELATION, {})

    def put(self, path: str, changed: dict[int, bytes], pages: int = PAGES) -> None:
        """A file of pages."""
        (self.cluster.data / path).write_bytes(b"".join(changed.get(number, BEFORE) for number in range(pages)))

    def change(self, path: str = RELATION) -> None:
        """A page that will be named, and one that will not."""
        self.put(path, {NAMED: AFTER, UNNAMED: AFTER})

    def note(self, start: Lsn, end: Lsn, timeline: int = 1) -> Path:
        """A summary that names the one page."""
        folder = self.cluster.data / "pg_wal/summaries"
        return summary(folder, start, end, entry([NAMED], (1663, 1, 16384)), timeline=timeline).path

    def back_up(self, backup_type: str = "incremental", between: tuple[Lsn, Lsn] = SECOND, timeline: int = 1) -> Header:
        start, stop = map(format_lsn, between)
        segment = f"{timeline:08X}{between[0] // made.SEGMENT_BYTES:016X}"
        label = f"START WAL LOCATION: {start} (file {segment})\nSTART TIMELINE: {timeline}\n"
        self.cluster.connection.answers.update(
            {"starting backup mode": [(start,)], "stopping backup mode": [(stop, label)]}
        )
        (self.cluster.data / "global/pg_control").write_bytes(made.control_bytes({48: ("<I", timeline)}))
        for number in range(2, 8):
            self.cluster.archive.store(f"{timeline:08X}{number:016X}", b"segment %d" % number)
        return self.cluster.back_up(backup_type)

    def backed_up(self, header: Header, path: str = RELATION) -> bytes:
        """What a backup has of a file."""
        stanza = self.cluster.stanza
        entries = {each.path: each for each in stanza.entries(header.backup_id) if isinstance(each, FileEntry)}
        return b"".join(FileReader(stanza, header.generation, 1).pieces(entries[path]))

    def was_read(self, header: Header, path: str = RELATION) -> bool:
        """Whether the page that no summary names was looked at; the named one must be in any case."""
        content = self.backed_up(header, path)
        assert content[NAMED * PAGE : (NAMED + 1) * PAGE] == AFTER
        return content[UNNAMED * PAGE : (UNNAMED + 1) * PAGE] == AFTER

    def warnings(self) -> list[str]:
        return [event.message for event in self.cluster.sink.events if isinstance(event, Warned)]


@pytest.fixture
def server(cluster: Cluster) -> Server:
    return Server(cluster)


def test_where_they_can_be_believed_only_what_they_name_is_read(server: Server) -> None:
    """What all others here are to be compared with."""
    server.back_up("full", FIRST)
    server.change()
    server.note(FIRST[0], SECOND[0])
    assert not server.was_read(server.back_up())
    assert server.warnings() == []


def test_a_full_backup_reads_everything(server: Server) -> None:
    server.back_up("full", FIRST)
    server.change()
    server.note(FIRST[0], SECOND[0])
    assert server.was_read(server.back_up("full"))


def test_a_server_that_does_not_note_anything_now_is_not_believed(server: Server) -> None:
    server.back_up("full", FIRST)
    server.change()
    server.note(FIRST[0], SECOND[0])
    server.cluster.settings["summarize_wal"] = "off"
    assert server.was_read(server.back_up())


def test_on_another_timeline_everything_is_read(server: Server) -> None:
    """The parent's timeline may have gone on behind the fork: its pages are not what this one's began with."""
    server.back_up("full", FIRST)
    server.change()
    server.note(FIRST[0], SECOND[0], timeline=1)
    server.note(FIRST[0], SECOND[0], timeline=2)
    assert server.was_read(server.back_up(timeline=2))


def test_summaries_of_another_timeline_say_nothing(server: Server) -> None:
    server.back_up("full", FIRST)
    server.change()
    server.note(FIRST[0], SECOND[0], timeline=2)
    assert server.was_read(server.back_up())


@pytest.mark.parametrize(("start", "read"), [(FIRST[0] + 8, True), (FIRST[1] - 1, True), (FIRST[1], False)])
def test_a_standby_that_lags_is_read_wholly(server: Server, start: Lsn, read: bool) -> None:
    """Its files may be older than the parent's pages, and what is replayed need not bring these forward."""
    server.back_up("full", FIRST)
    server.change()
    server.note(FIRST[0], start)
    assert server.was_read(server.back_up(between=(start, SECOND[1]))) == read


@pytest.mark.parametrize(
    ("ranges", "said"),
    [
        ([(FIRST[0] + 1, SECOND[0])], ""),
        ([(FIRST[0], FIRST[1]), (FIRST[1] + 1, SECOND[0])], ""),
        ([(FIRST[0], SECOND[0] - 1)], "no WAL summary from 0/400027"),
        ([(FIRST[1], SECOND[0])], ""),  # all that has changed since the parent's *end* is not enough
        ([], "no WAL summary from 0/200028"),
    ],
)
def test_where_a_stretch_is_missing_everything_is_read(
    server: Server, ranges: list[tuple[Lsn, Lsn]], said: str
) -> None:
    server.back_up("full", FIRST)
    server.change()
    for start, end in ranges:
        server.note(start, end)
    assert server.was_read(server.back_up())
    assert [text for text in server.warnings() if not said or said not in text] == []
    assert bool(server.warnings()) == bool(said)


def test_where_one_is_damaged_everything_is_read_and_that_is_said(server: Server) -> None:
    server.back_up("full", FIRST)
    server.change()
    server.note(FIRST[0], FIRST[1])
    path = server.note(FIRST[1], SECOND[0])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert server.was_read(server.back_up())
    (warning,) = server.warnings()
    assert path.name in warning


def test_pages_that_were_judged_otherwise_are_all_read(server: Server) -> None:
    """Checksums have been switched on since: nobody has looked at them yet."""
    server.back_up("full", FIRST)
    server.change()
    server.note(FIRST[0], SECOND[0])
    server.cluster.data_checksums = True
    assert server.was_read(server.back_up())


def test_a_relation_of_which_a_page_was_bad_is_read_wholly(server: Server) -> None:
    """What could not be read right then may be readable now, and no WAL says so."""
    server.put(RELATION, {UNNAMED: BAD})
    assert server.back_up("full", FIRST).damaged_pages == 1
    server.change()
    server.note(FIRST[0], SECOND[0])
    assert server.was_read(server.back_up())


@pytest.mark.parametrize("fork", ["vm", "fsm"])
def test_other_forks_are_read_wholly(server: Server, fork: str) -> None:
    path = f"{RELATION}_{fork}"
    server.put(path, {})
    server.back_up("full", FIRST)
    server.change(path)
    server.note(FIRST[0], SECOND[0])
    assert server.was_read(server.back_up(), path)


def test_what_an_unlogged_relation_begins_with_is_read_wholly(server: Server) -> None:
    path = "base/1/16400_init"
    server.put(path, {})
    server.back_up("full", FIRST)
    server.change(path)
    server.note(FIRST[0], SECOND[0])
    assert server.was_read(server.back_up(), path)


def test_a_new_relation_is_read_wholly(server: Server) -> None:
    server.back_up("full", FIRST)
    server.change("base/1/16999")
    server.change()
    server.note(FIRST[0], SECOND[0])
    header = server.back_up()
    assert server.was_read(header, "base/1/16999")
    assert not server.was_read(header)


def test_one_that_had_no_map_yet_is_read_wholly(server: Server) -> None:
    """It was small, and nobody has looked at its pages one by one."""
    server.put(RELATION, {}, pages=32)
    server.back_up("full", FIRST)
    server.change()
    server.note(FIRST[0], SECOND[0])
    assert server.was_read(server.back_up())


@pytest.mark.parametrize("left", [UNNAMED + 1, PAGES - 1])
def test_one_that_was_cut_has_the_length_it_has_now(server: Server, left: int) -> None:
    server.put(RELATION, {}, pages=3 * PAGES)
    server.back_up("full", FIRST)
    server.put(RELATION, {NAMED: AFTER}, pages=PAGES)
    server.note(FIRST[0], SECOND[0])
    expected = (server.cluster.data / RELATION).read_bytes()
    assert server.backed_up(server.back_up()) == expected


def test_of_one_that_ends_in_the_middle_of_a_page_now_that_page_is_read(server: Server) -> None:
    """Cut as no server does, and no WAL says so: what is recorded must be what is there all the same."""
    server.put(RELATION, {}, pages=3 * PAGES)
    server.back_up("full", FIRST)
    server.put(RELATION, {NAMED: AFTER}, pages=PAGES)
    with (server.cluster.data / RELATION).open("ab") as stream:
        stream.write(AFTER[:1000])
    server.note(FIRST[0], SECOND[0])
    expected = (server.cluster.data / RELATION).read_bytes()
    assert server.backed_up(server.back_up()) == expected


def test_what_refers_to_nothing_older_is_read_whatever_is_named(server: Server, tmp_path: Path) -> None:
    folder, stanza = server.cluster.data, server.cluster.stanza
    first = round_trip.read(stanza, round_trip.sources_in(folder)).by_name
    server.change()
    named = union([summary(tmp_path, 1, 2, entry([NAMED], (1663, 1, 16384)))])
    sources = [replace(source, previous=first[source.name]) for source in round_trip.sources_in(folder)]
    again = round_trip.read(stanza, sources, trusts_previous=True, changed_blocks=named).by_name[RELATION]
    assert round_trip.content(stanza, again) == (server.cluster.data / RELATION).read_bytes()


# --- waiting for one that is still to come


class Writing(SteppedClock):
    """While somebody waits the server writes what is missing."""

    def __init__(self, write: Callable[[], object], after: int) -> None:
        super().__init__()
        self._write = write
        self._after = after
        self.pauses = 0

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.pauses += 1
        if self.pauses == self._after:
            self._write()


def test_the_last_one_is_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "pg_wal/summaries"
    summary(folder, 100, 150, entry([1]))
    clock = Writing(lambda: summary(folder, 150, 200, entry([2])), after=7)
    changed = wal_summary_wait.changed_blocks(tmp_path, 1, (100, 200), clock, Collector())
    assert (changed is not None, clock.pauses) == (True, 7)


def test_what_can_not_come_any_more_is_not_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "pg_wal/summaries"
    clock, sink = Writing(lambda: None, after=0), Collector()
    summary(folder, 151, 200, entry([1]))
    assert wal_summary_wait.changed_blocks(tmp_path, 1, (100, 200), clock, sink) is None
    summary(folder, 100, 150, entry([1]))
    assert wal_summary_wait.changed_blocks(tmp_path, 1, (100, 200), clock, sink) is None
    assert wal_summary_wait.changed_blocks(tmp_path, 2, (100, 200), clock, sink) is None
    assert clock.pauses == 0
