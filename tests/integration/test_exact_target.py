# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery to a point in time shows exactly the commits before it, no more and no fewer (I10).

Several sessions commit at once, each its own transaction number. The truth is what PostgreSQL's `pg_waldump` reads
from the server's own WAL: commit times are not in the order of the WAL, and recovery stops at the first record there
whose time is past the target.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import pytest
from harness import DATABASE, Cluster
from support import Site, task

CLIENTS, TRANSACTIONS = 4, 25
COMMIT = re.compile(r"tx:\s+(\d+), .* desc: COMMIT (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}) UTC")


@dataclass(frozen=True)
class Commit:
    """A commit record of the WAL."""

    transaction: int
    time: datetime


def write_ledger(cluster: Cluster) -> list[Commit]:
    """Commit from several sessions at once; the commit records of it all in the order of the WAL."""
    cluster.sql("DROP TABLE IF EXISTS ledger; CREATE TABLE ledger (transaction bigint)")
    script = cluster.data_directory.with_name("ledger.sql")
    script.write_text("INSERT INTO ledger VALUES (txid_current());\n")
    ((start,),) = cluster.sql("SELECT pg_current_wal_insert_lsn()::text")
    load = ("--no-vacuum", "--client", str(CLIENTS), "--transactions", str(TRANSACTIONS), "--file", script)
    cluster.run("pgbench", *load, DATABASE)
    ((end,),) = cluster.sql("SELECT pg_current_wal_flush_lsn()::text")
    wal = cluster.data_directory / "pg_wal"
    records = cluster.postgres.run(
        "pg_waldump", "--path", wal, "--start", start, "--end", end, "--rmgr", "Transaction", env={"TZ": "UTC"}
    ).stdout
    return [
        Commit(int(transaction), datetime.fromisoformat(time).replace(tzinfo=timezone.utc))
        for transaction, time in COMMIT.findall(records)
    ]


def reached(commits: list[Commit], target: datetime) -> set[int]:
    """The transactions before the record at which recovery to *target*, inclusive, stops."""
    stops = next(number for number, commit in enumerate(commits) if commit.time > target)
    return {commit.transaction for commit in commits[:stops]}


@pytest.mark.every_version
def test_exactly_the_commits_before_the_target(site: Site, new_place: Callable[[], Cluster]) -> None:
    commits = write_ledger(site.cluster)
    in_table = {row[0] for row in site.cluster.sql("SELECT transaction FROM ledger")}
    assert len(in_table) == CLIENTS * TRANSACTIONS and in_table <= {commit.transaction for commit in commits}
    site.archive_everything()

    times = [commit.time for commit in commits]
    newest_so_far = [time for number, time in enumerate(times) if time > max(times[:number], default=times[0])]
    instant, middle, late = timedelta(microseconds=1), newest_so_far[len(newest_so_far) // 2], newest_so_far[-3]
    targets = {
        "the very time of a commit is included": middle,
        "a microsecond earlier it is not": middle - instant,
        "between a late commit and the next": late + instant,
    }
    expected = {why: reached(commits, target) & in_table for why, target in targets.items()}
    assert len({frozenset(rows) for rows in expected.values()}) == len(targets)

    places = {why: new_place() for why in targets}
    site.play(
        *(
            task(
                "pg_restore",
                destination=place.data_directory,
                port=place.port,
                socket_directory=place.socket_dir,
                # another zone than the server's: the instant counts
                target_time=targets[why].astimezone(timezone(timedelta(hours=5, minutes=30))).isoformat(),
            )
            for why, place in places.items()
        )
    )
    found = {why: {row[0] for row in place.sql("SELECT transaction FROM ledger")} for why, place in places.items()}
    assert found == expected


def test_a_target_behind_the_last_commit_is_refused_and_the_last_commit_named(
    site: Site, new_place: Callable[[], Cluster]
) -> None:
    """PostgreSQL cannot know that nothing more was committed before the target, so it would not open the database."""
    site.archive_everything()
    ((now,),) = site.cluster.sql("SELECT clock_timestamp()")
    place = new_place()
    options = {"port": place.port, "socket_directory": place.socket_dir, "target_time": now.isoformat()}
    refusal = site.refused("target_beyond_archive", "pg_restore", destination=place.data_directory, **options)
    assert "last transaction" in refusal["happened"] and "earlier target" in refusal["remedy"]
    latest = datetime.fromisoformat(refusal["details"]["latest"])
    assert latest < now
    assert not place.data_directory.exists()
    # a microsecond before that one, there is something behind
    options["target_time"] = (latest - timedelta(microseconds=1)).isoformat()
    site.module("pg_restore", destination=place.data_directory, **options)
