# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found wrong with a cluster, fact by fact, beginning with one with which everything is well."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError, PreconditionError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.status import summary as status_summary
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.status.diagnosis import (
    CRITICAL,
    WARNING,
    Lag,
    archive_lag,
    judge,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.status.facts import (
    BackupFacts,
    ClusterFacts,
    HostFacts,
    ReceiverFacts,
    RepositoryFacts,
    ServerFacts,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.slots import Slot
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.status_thresholds import (
    Threshold,
    Thresholds,
    parse,
)

GB = 10**9
SLOT = Slot("lifeboat_main", True, False, 4711, 0x3000000, "reserved", None, 1 << 20, None)
SERVER = ServerFacts(
    major=17,
    system_identifier=7,
    in_recovery=False,
    segment="000000010000000000000005",
    archive_mode="on",
    archive_command="exec lifeboat archive-push --cluster main %p",
    last_archived="000000010000000000000004",
    last_archived_age=12.0,
    slot=SLOT,
)
BACKUP = BackupFacts("20261128T000000Z-full-abcdef", 3600.0, "full", 0)
LOCAL = RepositoryFacts("local", "/srv/lifeboat", True, None, 7, 3, BACKUP, "2026-11-21T00:00:00.000000Z", "0" * 24)
CELLAR = replace(LOCAL, name="cellar", required=False)
WELL = ClusterFacts(
    "main",
    "db1-main",
    "both",
    True,
    True,
    "lifeboat_main",
    SERVER,
    None,
    HostFacts(True, True, pusher_alive=True),
    [LOCAL, CELLAR],
)


def with_server(**changed: Any) -> ClusterFacts:
    return replace(WELL, server=replace(SERVER, **changed))


def with_slot(facts: ClusterFacts = WELL, **changed: Any) -> ClusterFacts:
    return replace(facts, server=replace(SERVER, slot=replace(SLOT, **changed)))


def with_host(**changed: Any) -> ClusterFacts:
    return replace(WELL, host=HostFacts(**{"running": True, "claimed": True, "pusher_alive": True, **changed}))


def with_local(**changed: Any) -> ClusterFacts:
    return replace(WELL, repositories=[replace(LOCAL, **changed)])


def with_receiver(**changed: Any) -> ClusterFacts:
    return replace(WELL, receiver=ReceiverFacts(**{"alive": True, "state": "receiving", **changed}))


def with_cellar(**changed: Any) -> ClusterFacts:
    return replace(WELL, repositories=[LOCAL, replace(CELLAR, **changed)])


ONLY_STREAM = replace(WELL, wal_method="stream", by_command=False)
STOPPED = replace(with_host(running=False), server=None)
FAILING = {"failing": True, "last_failed": "000000010000000000000005", "last_failed_age": 3.0}


def test_nothing_is_said_where_everything_is_well() -> None:
    assert judge(WELL) == []
    assert status_summary.values(WELL)["state"] == "ok"
    assert next(iter(status_summary.lines(status_summary.values(WELL)))).startswith("main: OK")


@pytest.mark.parametrize(
    ("facts", "level", "code", "words"),
    [
        (STOPPED, CRITICAL, "server_stopped", "not running"),
        (replace(WELL, server=None, server_error="no route"), CRITICAL, "server_unreachable", "no route"),
        (with_server(pending_restart=["wal_level"]), WARNING, "restart_pending", "wal_level"),
        (with_local(system_identifier=8), CRITICAL, "stanza_of_another_cluster", "identifier 8"),
        (with_host(claimed=False), CRITICAL, "cluster_not_claimed", "no claim"),
        (with_server(archive_mode="off"), CRITICAL, "not_archiving", "archive_mode is off"),
        (with_server(archive_command="cp %p /x"), CRITICAL, "not_archiving", "cp %p /x"),
        (with_server(archive_command=""), CRITICAL, "not_archiving", "it is empty"),
        (with_server(last_archived=None), WARNING, "nothing_archived_yet", "not archived anything"),
        (with_server(**FAILING), WARNING, "archiving_fails", "000000010000000000000005 could not be archived 3 s ago"),
        (with_host(waiting=3, oldest_wait=299.0), None, "", ""),
        (
            with_host(waiting=3, oldest_wait=300.0),
            WARNING,
            "archiving_lags",
            "3 files of WAL wait, the oldest for 5 min",
        ),
        (with_host(waiting=3, oldest_wait=1800.0), CRITICAL, "archiving_lags", "3 files"),
        (with_host(waiting=20, oldest_wait=1.0), WARNING, "archiving_lags", "20 files"),
        (with_host(waiting=200, oldest_wait=1.0, pusher_alive=False), CRITICAL, "archiving_lags", "No background"),
        (with_host(owed={"cellar": 2}), WARNING, "optional_repository_behind", "cellar lacks 2 files"),
        (with_host(given_up={"local": 1}), CRITICAL, "wal_given_up", "1 file of WAL"),
        (with_server(slot=None), WARNING, "slot_missing", "lifeboat_main does not exist"),
        (replace(ONLY_STREAM, server=replace(SERVER, slot=None)), CRITICAL, "slot_missing", "lifeboat_main"),
        (with_slot(wal_status="lost"), CRITICAL, "slot_lost", "removed WAL"),
        (
            with_receiver(troubles=["[disk_full] no room."], waiting=2),
            WARNING,
            "receiver_troubled",
            "2 files of WAL are",
        ),
        (with_receiver(troubles=["[disk_full] x."], waiting=200), CRITICAL, "receiver_troubled", "[disk_full] x."),
        (with_receiver(waiting=20), WARNING, "receiver_uploads_lag", "20 files"),
        (with_receiver(alive=False, troubles=["of yesterday"]), None, "", ""),  # its slot tells
        (with_slot(active_pid=None), WARNING, "receiver_missing", "Nobody receives"),
        (with_slot(ONLY_STREAM, active_pid=None), CRITICAL, "receiver_missing", "Nobody receives"),
        (with_slot(retained_bytes=10 * GB), WARNING, "slot_lags", "keeps 10 GB"),
        (with_slot(retained_bytes=50 * GB), CRITICAL, "slot_lags", "keeps 50 GB"),
        (with_slot(retained_bytes=GB, limit_bytes=2 * GB), WARNING, "slot_lags", "50% of max_slot_wal_keep_size"),
        (with_slot(retained_bytes=GB, limit_bytes=GB), CRITICAL, "slot_lags", "100% of max_slot_wal_keep_size"),
        (with_slot(retained_bytes=40 * GB, limit_bytes=100 * GB), None, "", ""),
        (with_slot(wal_status="unreserved"), CRITICAL, "slot_lags", "behind"),
        (with_local(error="no such bucket"), CRITICAL, "repository_unreachable", "no such bucket"),
        (with_cellar(error="not mounted"), WARNING, "repository_unreachable", "not mounted"),
        (with_local(newest=None, backups=0), CRITICAL, "no_backup", "no backup"),
        (
            with_local(newest=None, backups=3),
            CRITICAL,
            "no_backup",
            "None of the 3 backups is of the cluster's present",
        ),
        (with_local(newest=replace(BACKUP, age=26 * 3600)), WARNING, "backup_too_old", "26 h 0 min old"),
        (with_local(newest=replace(BACKUP, age=50 * 3600)), CRITICAL, "backup_too_old", "50 h 0 min old"),
        (with_local(newest=replace(BACKUP, damaged_pages=1)), WARNING, "damaged_pages", "1 damaged page"),
        (with_local(newest=replace(BACKUP, missing_segments=["0007"])), CRITICAL, "wal_missing", "from 0007 on"),
        (with_cellar(newest=replace(BACKUP, missing_segments=["0007"])), WARNING, "wal_missing", "cellar"),
        # What is no fault
        (with_server(in_recovery=True, archive_command="", segment=None), None, "", ""),
        (with_server(archive_command=None), None, "", ""),  # a role that may not see it
        (with_local(gaps=["0007 to 0009"]), None, "", ""),  # known, and behind it there is a backup
        (replace(ONLY_STREAM, server=replace(SERVER, archive_mode="off", archive_command="")), None, "", ""),
        (with_server(slot=None, slot_is_known=False), None, "", ""),
    ],
)
def test_each_fault_is_named_with_what_to_do(facts: ClusterFacts, level: int | None, code: str, words: str) -> None:
    found = judge(facts)
    if level is None:
        assert found == []
        return
    (finding,) = found
    assert (finding.level, finding.code) == (level, code)
    assert words in finding.what
    assert finding.what.endswith((".", words)) and finding.todo.endswith((".", ")."))
    screen = "\n".join(status_summary.lines(status_summary.values(facts)))
    assert finding.code not in screen  # words for people
    assert " ".join(finding.what.split()[:3]) in screen
    assert max(map(len, screen.splitlines())) <= 130


def test_the_reason_is_ours_else_the_servers_else_where_to_look() -> None:
    def said(**host: Any) -> str:
        return judge(replace(with_server(**FAILING), host=HostFacts(True, True, **host)))[0].what

    assert "Lifeboat says: error [no_space]" in said(own_failure="error [no_space]: full", log=["LOG: exit code 1"])
    assert "The server's log says: LOG: exit code 1" in said(log=["LOG: exit code 1"])
    assert "push.log" in said()


def test_the_worst_comes_first() -> None:
    facts = replace(with_server(pending_restart=["wal_level"], archive_mode="off"), repositories=[])
    assert [finding.level for finding in judge(facts)] == [CRITICAL, WARNING]


def test_where_files_cannot_be_seen_the_lag_is_between_server_and_archive() -> None:
    away = replace(WELL, host=None)
    assert archive_lag(away) == Lag(0, 0.0)
    behind = replace(away, server=replace(SERVER, segment="00000001000000000000000A"))
    assert archive_lag(behind) == Lag(5, 12.0)
    streamed = [replace(LOCAL, last_segment="000000010000000000000002")]
    only = replace(ONLY_STREAM, host=None, repositories=streamed)
    assert archive_lag(only) == Lag(2, None)
    assert archive_lag(replace(only, server=None)) == Lag(None, None)
    assert archive_lag(replace(only, repositories=[replace(LOCAL, last_segment=None)])) == Lag(None, None)


def test_what_could_not_be_looked_at_at_all_is_critical() -> None:
    error = PreconditionError("reading x", "it is gone.", "Bring it back.", code="config_missing")
    found = status_summary.failed("main", error)
    assert (found["level"], found["findings"][0]["code"]) == (2, "config_missing")
    assert list(status_summary.lines(found))[0] == "main: CRITICAL"


def test_thresholds_are_read_as_they_are_written() -> None:
    assert parse("main", None) == Thresholds()
    assert parse("main", " backup_age = 7d/never, slot_lag=500MB/2TB ") == replace(
        Thresholds(), backup_age=Threshold(604800.0, math.inf), slot_lag=Threshold(5e8, 2e12)
    )
    for wrong in ("backup_age=26h", "age=1h/2h", "backup_age=2h/1h", "backup_age=1GB/2GB", "slot_lag=1h/2h", "x"):
        with pytest.raises(LifeboatError) as refused:
            parse("main", wrong)
        assert refused.value.code == "setting_invalid"
