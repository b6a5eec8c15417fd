# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger: what a cluster's WAL says was written and committed, kept outside the database.

It is read by PostgreSQL's `pg_waldump` out of the server's own WAL while that is still there. Every row of the watched
table is an insertion in the WAL by some (sub)transaction, and is there for readers from the record on with which its
transaction commits. What a recovery shows must be the rows of exactly the commits before the record where it stopped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import pairwise

from harness import Cluster

Lsn = int
Rows = Counter[int]  # how many rows each (sub)transaction has, as `xmin` shows them

COMMIT, ABORT, PREPARE, INSERT, POINT, OTHER = "commit", "abort", "prepare", "insert", "point", ""

_LINE = re.compile(r"rmgr: (\w+)\s+len \(rec/tot\):\s+\d+/\s*(\d+), tx:\s+(\d+), lsn: (\w+/\w+), .*?desc: (.*)")
_END = re.compile(
    r"(COMMIT|ABORT)(?:_PREPARED (\d+):)? (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) UTC(?:; .*?subxacts: ([\d ]+))?"
)
_INSERT = re.compile(r"INSERT(?:\+INIT)? .*?rel \d+/\d+/(\d+) blk")
_POINT = re.compile(r"RESTORE_POINT (.*)")
_FORK = re.compile(r"(\d+)\t(\w+/\w+)\t")
_LONG_PAGE_HEADER = 40


def parse_lsn(text: str) -> Lsn:
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(lsn: Lsn) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


@dataclass(frozen=True)
class Record:
    """A record of the WAL, with what a recovery target can be held against."""

    lsn: Lsn
    end: Lsn  # or where the next one begins, once that is known
    what: str = OTHER
    xid: int = 0  # the transaction's that ends, where it was a prepared one
    time: datetime | None = None
    subxacts: tuple[int, ...] = ()
    name: str = ""

    @property
    def ends_transaction(self) -> bool:
        return self.what in {COMMIT, ABORT}


@dataclass
class Timeline:
    """The records of one timeline, in the order of the WAL, and where it comes from."""

    number: int
    parent: int | None
    begin: Lsn
    records: list[Record] = field(default_factory=list)


class Ledger:
    """Everything that was written since the ledger was opened, on every timeline."""

    def __init__(self, cluster: Cluster, table: str) -> None:
        ((node,),) = cluster.sql("SELECT pg_relation_filenode(%(table)s::regclass)", table=table)
        ((start,),) = cluster.sql("SELECT pg_current_wal_insert_lsn()::text")
        ((size,),) = cluster.sql("SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'")
        self._node = str(node)
        self.segment_size = int(size)
        self.begin = parse_lsn(start)
        self.timelines = {1: Timeline(1, None, self.begin)}
        self.current = 1

    # --- reading

    def read(self, cluster: Cluster) -> None:
        """Read on in the WAL of the current timeline, as far as it is valid. The server may run or be dead."""
        timeline = self.timelines[self.current]
        begin = timeline.records[-1].lsn if timeline.records else timeline.begin
        where = ("--path", cluster.data_directory / "pg_wal", "--timeline", str(timeline.number))
        # It ends with an error where the WAL does.
        said = cluster.postgres.run("pg_waldump", *where, "--start", lsn_text(begin), env={"TZ": "UTC"}, check=False)
        found = list(self._parse(said.stdout))
        assert found and (not timeline.records or found[0].lsn == begin), (said.stderr, lsn_text(begin))
        timeline.records[-1:] = found

    def _parse(self, text: str) -> Iterator[Record]:
        for line in text.splitlines():
            match = _LINE.match(line)
            assert match, line
            manager, length, xid, lsn, what = match[1], int(match[2]), int(match[3]), parse_lsn(match[4]), match[5]
            end = lsn + length
            if manager == "Transaction" and (found := _END.match(what)):
                time = datetime.fromisoformat(found[3]).replace(tzinfo=timezone.utc)
                subxacts = tuple(map(int, (found[4] or "").split()))
                kind = COMMIT if found[1] == "COMMIT" else ABORT
                yield Record(lsn, end, kind, int(found[2] or xid), time, subxacts)
            elif manager == "Transaction" and what.startswith("PREPARE"):
                yield Record(lsn, end, PREPARE, xid)
            elif manager == "Heap" and (found := _INSERT.match(what)) and found[1] == self._node:
                yield Record(lsn, end, INSERT, xid)
            elif manager == "XLOG" and (found := _POINT.match(what)):
                yield Record(lsn, end, POINT, name=found[1])
            else:
                yield Record(lsn, end)

    def begin_timeline(self, cluster: Cluster) -> int:
        """The cluster has been promoted: it goes on on the newest timeline that it has a history of."""
        newest = max((cluster.data_directory / "pg_wal").glob("????????.history"))
        number = int(newest.name[:8], 16)
        parent, fork = _FORK.findall(newest.read_text())[-1]
        assert number not in self.timelines and int(parent) in self.timelines
        self.timelines[number] = Timeline(number, int(parent), parse_lsn(fork))
        self.current = number
        return number

    # --- what must be

    def path(self, number: int) -> list[Timeline]:
        """The timelines on the way to one, that one last. A recovery may stop before its target timeline has begun."""
        timeline = self.timelines[number]
        before = self.path(timeline.parent) if timeline.parent else []
        return [*(each for each in before if each.begin < timeline.begin), timeline]

    def passes(self, number: int, timeline: int, lsn: Lsn) -> bool:
        """Whether what a timeline had written up to there is on the way to another."""
        path = self.path(number)
        for each, following in pairwise(path):
            if each.number == timeline:
                return lsn <= following.begin
        return timeline == number

    def records(self, number: int, archived: set[str], since: Lsn) -> list[Record]:
        """The records on the way to a timeline, up to the last that is whole in the archived segments behind `since`.

        Where those begin that are archived is not asked: what a backup holds needs no WAL.
        """
        path = self.path(number)
        found: list[Record] = []
        for each, following in pairwise([*path, None]):
            assert each is not None
            found += [each_record for each_record in each.records if not following or each_record.lsn < following.begin]
        limit = self._archived_until(path, archived, since)
        exact = [Record(**{**vars(one), "end": after.lsn}) for one, after in pairwise(found)] + found[-1:]
        return [each for each in exact if each.end <= limit + _LONG_PAGE_HEADER and each.lsn < limit]

    def _archived_until(self, path: Sequence[Timeline], archived: set[str], since: Lsn) -> Lsn:
        number = since // self.segment_size
        while self.segment_name(self._owner(path, number), number) in archived:
            number += 1
        return number * self.segment_size

    def _owner(self, path: Sequence[Timeline], number: int) -> int:
        """Whose file of a segment a recovery reads: the newest timeline's that has one."""
        return [each for each in path if each.begin // self.segment_size <= number][-1].number

    def postgres_cannot(self, number: int, applied: Sequence[Record]) -> bool:
        """Whether PostgreSQL fails at the end of this recovery, because of something prepared that it reads again.

        It looks for the segment under the timeline where it has stopped, and there may be that of a later one only.
        """
        path = self.path(number)
        last = applied[-1].lsn
        there = self.path([each for each in path if each.begin <= last][-1].number)
        segments = {lsn // self.segment_size for lsn in committed(applied)[1].values()}
        return any(self._owner(path, each) != self._owner(there, each) for each in segments)

    def segment_name(self, timeline: int, number: int) -> str:
        """As PostgreSQL names its files."""
        in_each = (1 << 32) // self.segment_size
        return f"{timeline:08X}{number // in_each:08X}{number % in_each:08X}"


def committed(records: Sequence[Record]) -> tuple[Rows, dict[int, Lsn]]:
    """The rows after these records, and the transactions that are prepared then, with where that was."""
    written: Rows = Counter()
    rows: Rows = Counter()
    prepared: dict[int, Lsn] = {}
    for record in records:
        if record.what == INSERT:
            written[record.xid] += 1
        elif record.what == PREPARE:
            prepared[record.xid] = record.lsn
        elif record.ends_transaction:
            prepared.pop(record.xid, None)
            for xid in (record.xid, *record.subxacts):
                number = written.pop(xid, 0)
                if number and record.what == COMMIT:
                    rows[xid] += number
    return rows, prepared
