# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A target is held against what the archived WAL has, before a restore begins."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore import choose
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore.reach import Reach, TargetSearch
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.programs import Programs
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.recovery_settings import (
    RecoveryTarget,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.wal_names import format_lsn
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Incarnation, Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.wal import WalArchive
from fakes import Collector
from made import SEGMENT_BYTES, control_bytes, header

LAST_RECORD = 2000
NOW = datetime(2026, 2, 1, tzinfo=timezone.utc)


def day(number: float) -> datetime:
    return datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(days=number - 1)


def name_of(number: int) -> str:
    return f"00000001{number:016X}"


class Ended:
    """A program that has done its work."""

    def wait(self) -> int:
        return 0


class Wal:
    """An archive whose segments hold what the test says; it takes pg_waldump's place."""

    def __init__(self, stanza: Stanza, life: Incarnation, programs: Path) -> None:
        self.stanza, self.life = stanza, life
        self.records: dict[tuple[int, str], list[str]] = {}
        self.programs = Programs(programs, 15)
        (programs / "pg_waldump").touch(mode=0o755)

    def segment(self, number: int, *, commits: dict[int, float] | None = None, points: Sequence[str] = ()) -> None:
        """Archive a segment: transactions with the days of their commits, and restore points."""
        head = (0xD110, 2, 1, number * SEGMENT_BYTES, self.life.system_identifier, SEGMENT_BYTES, 8192)
        content = struct.pack("<HHIQ8xQII", *head).ljust(SEGMENT_BYTES, b"\0")
        WalArchive(self.stanza, self.life).store(name_of(number), content)
        lsn = format_lsn(number * SEGMENT_BYTES + 1000)
        self.records[number, "Transaction"] = [
            f"rmgr: Transaction len (rec/tot):     34/    34, tx:  {xid}, lsn: {lsn}, prev 0/0, desc: COMMIT"
            f" {day(when):%Y-%m-%d %H:%M:%S.%f} UTC"
            for xid, when in (commits or {}).items()
        ]
        self.records[number, "XLOG"] = [
            f"rmgr: XLOG        len (rec/tot):     98/    98, tx:  0, lsn: {lsn}, prev 0/0, desc: RESTORE_POINT {name}"
            for name in points
        ]
        last = format_lsn(number * SEGMENT_BYTES + LAST_RECORD)
        self.records[number, "Standby"] = [
            f"rmgr: Standby     len (rec/tot):     50/    50, tx:  0, lsn: {last}, prev 0/0, desc: RUNNING_XACTS next 9"
        ]

    def start(self, argv: Sequence[str], *, output: Path, **_how: Any) -> Ended:
        """What pg_waldump would write."""
        options = dict(word.removeprefix("--").split("=", 1) for word in argv[1:])
        number = int(options["start"].partition("/")[2], 16) // SEGMENT_BYTES
        assert (Path(options["path"]) / name_of(number)).stat().st_size == SEGMENT_BYTES
        wanted = [options["rmgr"]] if "rmgr" in options else ["Transaction", "XLOG", "Standby"]
        output.write_text("\n".join(line for manager in wanted for line in self.records[number, manager]))
        return Ended()

    def decide(self, target: RecoveryTarget) -> Reach:
        """What a restore would begin with."""
        choices = choose.candidates(self.stanza, "latest", target, NOW)
        return TargetSearch(target, self.programs, self, Collector()).decide(choices)  # type: ignore[arg-type]


@pytest.fixture
def wal(stanza: Stanza, life: Incarnation, tmp_path: Path) -> Wal:
    """Two backups: `backup1` of the 1st in segment 2, `backup2` of the 3rd in segment 4."""
    for name, number, next_xid in (("backup1", 2, 700), ("backup2", 4, 800)):
        control = base64.b64encode(control_bytes({64: ("<Q", next_xid)})).decode()
        stanza.publish(
            header(
                backup_id=name,
                incarnation=life.incarnation,
                start_lsn=number * SEGMENT_BYTES + 40,
                stop_lsn=number * SEGMENT_BYTES + 500,
                stop_time=f"2026-01-0{number - 1}T00:00:00.000000Z",
                control_file=control,
            ),
            [],
        )
    return Wal(stanza, life, tmp_path)


@pytest.fixture
def whole(wal: Wal) -> Wal:
    """All of the WAL; the newest commit is of the 5th, and nothing but idling behind it."""
    wal.segment(2, commits={710: 1.5})
    wal.segment(3, commits={720: 2.5}, points=["early"])
    wal.segment(4, commits={810: 4})
    wal.segment(5, commits={820: 5, 821: 4.9}, points=["late", "later"])
    wal.segment(6)
    return wal


@pytest.mark.parametrize(
    ("target", "backup"),
    [
        (RecoveryTarget(), "backup2"),
        (RecoveryTarget(immediate=True), "backup2"),
        (RecoveryTarget(day(4.95)), "backup2"),
        (RecoveryTarget(day(5), inclusive=False), "backup2"),
        (RecoveryTarget(day(2)), "backup1"),
        (RecoveryTarget(lsn=6 * SEGMENT_BYTES + LAST_RECORD), "backup2"),
        (RecoveryTarget(lsn=6 * SEGMENT_BYTES - 1), "backup2"),
        (RecoveryTarget(lsn=4 * SEGMENT_BYTES), "backup1"),
        (RecoveryTarget(xid=820), "backup2"),
        (RecoveryTarget(xid=720), "backup1"),
        (RecoveryTarget(name="late"), "backup2"),
        (RecoveryTarget(name="early"), "backup1"),
    ],
)
def test_the_newest_backup_from_which_it_can_be_reached(whole: Wal, target: RecoveryTarget, backup: str) -> None:
    reach = whole.decide(target)
    assert (reach.choice.header.backup_id, reach.missing) == (backup, [])


@pytest.mark.parametrize(
    ("target", "code", "said"),
    [
        (RecoveryTarget(day(5)), "target_beyond_archive", day(5).isoformat()),
        (RecoveryTarget(day(9)), "target_beyond_archive", day(5).isoformat()),
        (RecoveryTarget(lsn=7 * SEGMENT_BYTES), "target_beyond_archive", "0/700000"),
        # within the last segment, but behind the last record: nothing would stop there
        (RecoveryTarget(lsn=6 * SEGMENT_BYTES + LAST_RECORD + 1), "target_beyond_archive", "0/6007D0"),
        (RecoveryTarget(xid=822), "target_beyond_archive", "transaction 821"),
        (RecoveryTarget(name="earliest"), "restore_point_unknown", "early"),
    ],
)
def test_what_is_behind_the_last_is_refused_with_the_last(
    whole: Wal, target: RecoveryTarget, code: str, said: str
) -> None:
    with expect.failure(code) as failure:
        whole.decide(target)
    assert said in failure.value.happened


def test_a_transaction_that_ended_while_a_backup_was_made_needs_the_one_before(whole: Wal) -> None:
    whole.records[4, "Transaction"] = whole.records[4, "Transaction"] + [
        line.replace("810", "805") for line in whole.records[4, "Transaction"]
    ]
    assert whole.decide(RecoveryTarget(xid=805)).choice.header.backup_id == "backup1"


def test_a_gap_is_an_end_of_the_archive(wal: Wal) -> None:
    wal.segment(2, commits={710: 1.5})
    wal.segment(4, commits={810: 4})
    wal.segment(5, commits={815: 4.5})
    wal.segment(7, commits={830: 7})
    reach = wal.decide(RecoveryTarget(day(4.2)))
    assert (reach.choice.header.backup_id, reach.missing) == ("backup2", [name_of(6)])
    for target in (RecoveryTarget(), RecoveryTarget(day(6)), RecoveryTarget(lsn=7 * SEGMENT_BYTES)):
        with expect.failure("wal_gap") as failure:
            wal.decide(target)
        assert failure.value.details["missing"] == [name_of(6)]
    with expect.failure("wal_gap") as failure:  # the older backup's first gap
        wal.decide(RecoveryTarget(day(2)))
    assert failure.value.details["missing"][0] == name_of(3)


@pytest.mark.parametrize("target", [RecoveryTarget(), RecoveryTarget(day(4)), RecoveryTarget(immediate=True)])
def test_a_backup_without_its_own_wal_is_refused(wal: Wal, target: RecoveryTarget) -> None:
    wal.segment(2)
    wal.segment(3)
    wal.segment(5, commits={820: 5})
    with expect.failure("wal_gap") as failure:
        wal.decide(target)
    assert failure.value.details["missing"] == [name_of(4)]


def test_without_pg_waldump_the_end_shows_it(whole: Wal) -> None:
    (whole.programs.directory / "pg_waldump").unlink()
    for target in (RecoveryTarget(day(9)), RecoveryTarget(xid=900), RecoveryTarget(name="unknown")):
        assert whole.decide(target).choice.header.backup_id == "backup2"
