# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking into archived WAL, by PostgreSQL's own pg_waldump, a segment at a time.

A record may begin in one segment and end in the next, so the next one is at hand too.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path as FilePath
from types import TracebackType

from ...ports import ProcessRunner
from ...postgres.programs import Programs
from ...postgres.timeline_path import Path
from ...postgres.wal_names import Lsn, WalSegment, format_lsn, parse_lsn
from ...repository.wal import WalArchive
from . import last_wal
from .archive import checked

_INTO_THE_NEXT = 1 << 20  # bytes; longer than any record that is looked for
_RECORD = re.compile(r"tx:\s+(\d+), lsn: ([0-9A-F]+/[0-9A-F]+), .*? desc: (\S+) (.*)")
_TIME = re.compile(r"(?:(\d+): )?(\d{4,}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC")
_ENDS = frozenset({"COMMIT", "ABORT", "COMMIT_PREPARED", "ABORT_PREPARED"})


@dataclass(frozen=True)
class TransactionEnd:
    """A commit or an abort: what recovery can stop at for a time and for a transaction."""

    lsn: Lsn
    xid: int
    time: datetime


@dataclass(frozen=True)
class RestorePoint:
    """A named point in WAL."""

    lsn: Lsn
    name: str


class WalSearch:
    """Reads segments on one way out of an archive. As a context manager it removes what it fetched."""

    def __init__(self, archive: WalArchive, path: Path, programs: Programs, runner: ProcessRunner) -> None:
        self._archive = archive
        self._path = path
        self._program = programs.path("pg_waldump")
        self._runner = runner
        self._size = archive.life.wal_segment_bytes
        self._folder = FilePath(tempfile.mkdtemp(prefix="lifeboat-wal-"))
        self._fetched: dict[str, bool] = {}

    def __enter__(self) -> WalSearch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def newest_ends(self, last: WalSegment, first: int) -> list[TransactionEnd]:
        """The ends of transactions in the newest segment that has any, `last` or before; back to number `first`."""
        for number in range(last.number, first - 1, -1):
            found = list(self.ends(self._path.segment(number, self._size) if number != last.number else last))
            if found:
                return found
        return []

    def ends(self, segment: WalSegment) -> Iterator[TransactionEnd]:
        """The transactions that end in a segment, in the order of the WAL."""
        for lsn, xid, what, rest in self._records(segment, "Transaction"):
            match = _TIME.match(rest) if what in _ENDS else None
            if match:
                moment = datetime.fromisoformat(_padded(match[2])).replace(tzinfo=timezone.utc)
                yield TransactionEnd(lsn, int(match[1] or xid), moment)

    def last_record(self, segment: WalSegment) -> Lsn | None:
        """Where the last record that begins in a segment does, if it is whole; behind it there may be nothing."""
        return max((lsn for lsn, *_rest in self._records(segment)), default=None)

    def restore_points(self, segment: WalSegment) -> Iterator[RestorePoint]:
        """The restore points in a segment."""
        for lsn, _xid, what, rest in self._records(segment, "XLOG"):
            if what == "RESTORE_POINT":
                yield RestorePoint(lsn, rest)

    def _records(self, segment: WalSegment, manager: str = "") -> Iterator[tuple[Lsn, int, str, str]]:
        following = self._path.segment(segment.number + 1, self._size)
        wanted = {each.name for each in (segment, following) if self._fetch(each)}
        for name in [each for each in self._fetched if each not in wanted]:
            del self._fetched[name]
            (self._folder / name).unlink(missing_ok=True)
        if segment.name not in wanted:
            return
        end = segment.start_lsn + self._size
        if following.timeline == segment.timeline and following.name in wanted:
            end += min(self._size, _INTO_THE_NEXT)
        output = self._folder / "records"
        argv = [self._program, f"--path={self._folder}", f"--timeline={segment.timeline}"]
        argv += [f"--rmgr={manager}"] if manager else []
        argv += [f"--start={format_lsn(segment.start_lsn)}", f"--end={format_lsn(end)}"]
        # It ends with an error where the WAL does, in the middle of a segment or of a record.
        process = self._runner.start(argv, output=output, attempted=f"reading {segment.name}", env={"TZ": "UTC"})
        process.wait()
        with output.open(errors="replace") as stream:
            for line in stream:
                match = _RECORD.search(line)
                if match and parse_lsn(match[2]) < segment.start_lsn + self._size:
                    yield parse_lsn(match[2]), int(match[1]), match[3], match[4].rstrip("\n")

    def _fetch(self, segment: WalSegment) -> bool:
        if segment.name not in self._fetched:
            pieces = self._pieces(segment)
            if pieces is not None:
                with (self._folder / segment.name).open("wb") as stream:
                    stream.writelines(checked(segment.name, pieces, self._archive.life))
            self._fetched[segment.name] = pieces is not None
        return self._fetched[segment.name]

    def _pieces(self, segment: WalSegment) -> Iterable[bytes] | None:
        archived = self._archive.find(segment.name)
        if archived is not None:
            return self._archive.pieces(archived)
        partial = last_wal.last_of(self._archive, segment)
        return [last_wal.content_of(self._archive, partial)] if partial is not None else None


def _padded(text: str) -> str:
    """Python before 3.11 wants three or six digits behind the point."""
    whole, _point, fraction = text.partition(".")
    return f"{whole}.{fraction.ljust(6, '0')}"
