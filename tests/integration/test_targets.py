# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of recovery target, what the server does there, and the way along timelines.

The commits' records are found by PostgreSQL's `pg_waldump` in the server's own WAL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from harness import Cluster, Postgres, wait_until
from harness.playbooks import Ansible
from support import Site, assert_refused, task, tree

COMMIT = re.compile(r"tx:\s+(\d+), lsn: (\S+), .* desc: COMMIT (\S+ \S+) UTC")


@dataclass(frozen=True)
class Commit:
    """A word's commit."""

    xid: int
    lsn: str
    time: datetime


class Story:
    """A site whose cluster says one word after the other."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.commits: dict[str, Commit] = {}

    def say(self, word: str) -> None:
        """Commit a word."""
        cluster = self.site.cluster
        ((start,),) = cluster.sql("SELECT pg_current_wal_insert_lsn()::text")
        ((xid,),) = cluster.sql("INSERT INTO words VALUES (%(word)s) RETURNING txid_current()", word=word)
        ((end,),) = cluster.sql("SELECT pg_current_wal_flush_lsn()::text")
        ((name,),) = cluster.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
        where = ("--path", cluster.data_directory / "pg_wal", "--timeline", str(int(name[:8], 16)))
        limits = ("--start", start, "--end", end, "--rmgr", "Transaction")
        for found in COMMIT.findall(cluster.postgres.run("pg_waldump", *where, *limits, env={"TZ": "UTC"}).stdout):
            if int(found[0]) == xid:
                time = datetime.fromisoformat(found[2]).replace(tzinfo=timezone.utc)
                self.commits[word] = Commit(xid, found[1], time)

    def restore(self, place: Cluster, **options: Any) -> dict[str, Any]:
        """The task that restores into a place."""
        own = {"port": place.port, "socket_directory": place.socket_dir}
        return task("pg_restore", destination=place.data_directory, **{**own, **options})


def point(name: str, *, check: bool = False) -> dict[str, Any]:
    """The task that makes a restore point."""
    made = task("pg_restore_point", check=check)
    made["lifeboat.postgresql.pg_restore_point"]["name"] = name
    return made


def words(cluster: Cluster) -> list[str]:
    return [word for (word,) in cluster.sql("SELECT word FROM words ORDER BY 1")]


@pytest.fixture(scope="module")
def story(postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path]) -> Iterator[Story]:
    with postgres.clone("story") as cluster:
        site = Site(ansible, cluster, new_folder())
        cluster.set(autovacuum="off")
        cluster.sql("CREATE TABLE words (word text)")
        site.play(
            site.agent_task,
            task("pg_backup_repository", create_key=True),
            task("pitr_configure", restart=True, archive_timeout=0),
            task("pg_backup"),
        )
        told = Story(site)
        told.say("a1")
        told.say("a2")
        cluster.sql("SELECT pg_create_restore_point('the middle')")
        site.archive_everything()
        told.say("a3")
        told.say("a4")
        site.archive_everything()
        yield told


@pytest.mark.parametrize("inclusive", [True, False], ids=["inclusive", "exclusive"])
def test_every_kind_of_target(inclusive: bool, story: Story, new_place: Callable[[], Cluster]) -> None:
    third = story.commits["a3"]
    local = third.time.astimezone(ZoneInfo("Asia/Kolkata")).replace(tzinfo=None).isoformat(" ")
    reached = ["a1", "a2", "a3"] if inclusive else ["a1", "a2"]
    either: dict[str, dict[str, Any]] = {
        "a time": {"target_time": third.time.isoformat() if inclusive else f"{local} Asia/Kolkata"},
        "a location": {"target_lsn": third.lsn},
        "a transaction": {"target_xid": third.xid},
    }
    cases = {what: ({**options, "target_inclusive": inclusive}, reached) for what, options in either.items()}
    if inclusive:
        cases["a name"] = ({"target_name": "the middle"}, ["a1", "a2"])
        cases["the end of the backup"] = ({"target_immediate": True}, [])
    places = {what: new_place() for what in cases}
    made = story.site.play(*(story.restore(places[what], **cases[what][0]) for what in cases))
    assert {what: words(place) for what, place in places.items()} == {what: cases[what][1] for what in cases}
    assert {result["state"] for result in made} == {"open"}
    assert all(result["stopped_at"] for result in made)
    assert {place.sql("SHOW archive_mode")[0][0] for place in places.values()} == {"off"}
    # A standby that is made of one of them would go to the same target, on the same timeline.
    left = [(place.data_directory / "postgresql.auto.conf").read_text() for place in places.values()]
    assert all("restore_command" in text and "recovery_target" not in text for text in left)


@pytest.mark.every_version
def test_what_the_server_does_there(story: Story, new_place: Callable[[], Cluster]) -> None:
    paused, stopped, unstarted = new_place(), new_place(), new_place()
    target = {"target_xid": story.commits["a3"].xid}
    at_pause, at_stop, predicted, left = story.site.play(
        story.restore(paused, **target, target_action="pause"),
        story.restore(stopped, **target, target_action="shutdown"),
        {**story.restore(unstarted, **target, target_action="pause"), "check_mode": True},
        story.restore(unstarted, **target, start=False),
    )
    assert (at_pause["state"], at_pause["running"]) == ("paused", True)
    assert paused.sql("SELECT pg_is_in_recovery(), pg_is_wal_replay_paused()") == [(True, True)]
    assert words(paused) == ["a1", "a2", "a3"]
    paused.sql("SELECT pg_wal_replay_resume()")
    wait_until(lambda: paused.sql("SELECT pg_is_in_recovery()") == [(False,)], "it was promoted")
    assert words(paused) == ["a1", "a2", "a3"]

    assert (at_stop["state"], at_stop["running"], stopped.is_running()) == ("stopped", False, False)
    assert "shut down in recovery" in stopped.postgres.run("pg_controldata", stopped.data_directory).stdout
    assert (predicted["state"], left["state"]) == ("paused", "not started")
    assert not unstarted.is_running()


def test_targets_outside_the_window_are_refused_and_nothing_is_touched(
    story: Story, new_folder: Callable[[], Path]
) -> None:
    folder = new_folder()
    last, now = story.commits["a4"], datetime.now(timezone.utc)
    # in the last archived segment, behind the switch that ended it
    query = "SELECT (pg_current_wal_lsn() - (pg_walfile_name_offset(pg_current_wal_lsn())).file_offset - 8)::text"
    ((behind_the_last_record,),) = story.site.cluster.sql(query)
    cases: list[tuple[str, dict[str, Any]]] = [
        ("target_beyond_archive", {"target_time": now.isoformat()}),
        ("target_beyond_archive", {"target_time": last.time.isoformat()}),  # included is what nothing comes after
        ("target_beyond_archive", {"target_lsn": "7F/0"}),
        ("target_beyond_archive", {"target_lsn": behind_the_last_record}),
        ("target_beyond_archive", {"target_xid": last.xid + 1000}),
        ("restore_point_unknown", {"target_name": "the muddle"}),
        ("target_before_first_backup", {"target_time": (now - timedelta(days=3)).isoformat()}),
        ("target_before_first_backup", {"target_lsn": "0/1000000"}),
        ("target_before_first_backup", {"target_xid": 3}),
        ("timeline_unknown", {"target_timeline": 7}),
        ("target_invalid", {"target_xid": 5, "target_immediate": True}),
        ("target_invalid", {"target_action": "pause"}),
        ("target_time_invalid", {"target_time": "2026-10-25 02:30 Europe/Berlin"}),
        ("setting_invalid", {"standby": True, "primary_conninfo": "host=x", "target_xid": last.xid}),
        ("setting_invalid", {"delta": True, "keep_old": True}),
    ]
    before = tree(story.site.folder)
    results = story.site.play(
        *(task("pg_restore", destination=folder / "new", **options) for _code, options in cases), fails=True
    )
    for (code, _options), result in zip(cases, results):
        assert_refused(code, result)
    assert results[0]["details"]["latest"] == last.time.isoformat()
    assert last.time.isoformat() in results[0]["happened"]
    assert str(last.xid) in results[4]["happened"]
    assert results[5]["details"]["nearest"][0] == "the middle"
    assert "the middle" in results[5]["msg"]
    assert results[9]["details"]["timelines"] == [1]
    assert list(folder.iterdir()) == []
    assert tree(story.site.folder) == before
    # excluded, the same moment has something behind it
    (reached,) = story.site.play(
        task(
            "pg_restore",
            check=True,
            destination=folder / "new",
            target_time=last.time.isoformat(),
            target_inclusive=False,
        )
    )
    assert reached["timeline"] == 1


def test_on_the_host(story: Story, new_place: Callable[[], Cluster]) -> None:
    place = new_place()
    where = ["--destination", place.data_directory, "--port", str(place.port), "--socket-directory", place.socket_dir]
    refusal = story.site.command_refused("target_beyond_archive", "restore", *where, "--target-time", "0 seconds ago")
    assert "one of" in refusal and not place.data_directory.exists()
    lsn = story.commits["a3"].lsn
    said = story.site.lifeboat("restore", *where, "--target-lsn", lsn, "--target-exclusive", "--target-action", "pause")
    assert "the server is paused" in said.stdout and "recovery stopping before WAL location" in said.stdout
    assert words(place) == ["a1", "a2"]


def test_a_restore_point_can_be_recovered_to_as_soon_as_it_is_made(
    story: Story, new_place: Callable[[], Cluster]
) -> None:
    site, place = story.site, new_place()
    position = "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"  # of the segment: something idles always
    before = site.cluster.sql(position)
    (predicted,) = site.play(point("before it's \\ changed", check=True))
    assert (predicted["changed"], predicted["lsn"]) == (True, "")
    assert site.cluster.sql(position) == before
    made, refused = site.play(point("before it's \\ changed"), point("x" * 64), fails=True)
    assert made["changed"] and made["timeline"] == 1 and made["segment"]
    assert_refused("target_invalid", refused)
    by_command = json.loads(site.lifeboat("restore-point", "from the host", "--json").stdout)
    assert by_command["segment"] > made["segment"]
    site.play(story.restore(place, target_name="before it's \\ changed"))
    assert words(place) == ["a1", "a2", "a3", "a4"]
    info = site.lifeboat(
        "restore", "--destination", new_place().data_directory, "--target-name", "nothing", check=False
    )
    assert "from the host" in info.stderr


def test_along_timelines(story: Story, new_place: Callable[[], Cluster]) -> None:
    """Going back in place abandons what came after: it is still there, but on no way to the present."""
    site, cluster = story.site, story.site.cluster
    old_backup = site.backup_ids()[-1]
    abandoned = site.module("pg_backup")["backup"]["id"]
    story.say("b1")
    site.archive_everything()
    cluster.sql("INSERT INTO words VALUES ('never archived')")
    cluster.sql("SELECT pg_switch_wal()")  # but finished: the archiver is not given the time
    cluster.kill()
    back = task("pg_restore", destination=cluster.data_directory, keep_old=True, target_xid=story.commits["a3"].xid)
    predicted, made, archiving = site.play(
        {**back, "check_mode": True},
        back,
        task("pitr_configure", claim="timeline", restart=True, archive_timeout=0),
    )
    assert predicted["backup"]["id"] == made["backup"]["id"] == old_backup
    kept = Path(made["kept_old"])
    assert kept.parent == cluster.data_directory.parent and (kept / "global/pg_control").exists()
    assert predicted["kept_old"].rpartition("before-")[0] == made["kept_old"].rpartition("before-")[0]
    assert words(cluster) == ["a1", "a2", "a3"]
    story.say("c1")
    site.archive_everything()
    story.say("c2")
    site.archive_everything()

    info = site.module("pg_backup_info")
    two = info["timelines"][-1]
    assert [timeline["timeline"] for timeline in info["timelines"]] == [1, 2]
    assert (two["parent"], two["path"], two["backups"]) == (1, [1, 2], [old_backup])
    assert info["timelines"][0]["backups"] == [old_backup, abandoned]

    cases: dict[str, tuple[dict[str, Any], list[str], str]] = {
        "the present": ({}, ["a1", "a2", "a3", "c1", "c2"], old_backup),
        "a transaction on the new timeline": (
            {"target_xid": story.commits["c1"].xid},
            ["a1", "a2", "a3", "c1"],
            old_backup,
        ),
        "a location on the new timeline": (
            {"target_lsn": story.commits["c2"].lsn, "target_inclusive": False},
            ["a1", "a2", "a3", "c1"],
            old_backup,
        ),
        "a time on the new timeline": (
            {"target_time": story.commits["c1"].time.isoformat(), "target_timeline": "2"},
            ["a1", "a2", "a3", "c1"],
            old_backup,
        ),
        "what was abandoned": ({"target_timeline": "1"}, ["a1", "a2", "a3", "a4", "b1", "never archived"], abandoned),
        "the backup's own timeline": (
            {"target_timeline": "current", "backup": old_backup, "target_time": story.commits["a4"].time.isoformat()},
            ["a1", "a2", "a3", "a4"],
            old_backup,
        ),
    }
    places = {what: new_place() for what in cases}
    results = site.play(
        *(story.restore(places[what], **cases[what][0]) for what in cases),
        task("pg_restore", destination=new_place().data_directory, backup=abandoned),
        task("pg_restore", destination=new_place().data_directory, target_timeline=2, backup=abandoned),
        fails=True,
    )
    *restored, refused, refused_too = results
    assert [result["failed"] for result in restored] == [False] * len(cases), restored
    assert {what: words(place) for what, place in places.items()} == {what: cases[what][1] for what in cases}
    assert [result["backup"]["id"] for result in restored] == [case[2] for case in cases.values()]
    assert "target timeline 1" in assert_refused("backup_on_other_timeline", refused)["remedy"]
    assert_refused("backup_on_other_timeline", refused_too)


def test_a_standby_follows_on_and_on(story: Story, new_place: Callable[[], Cluster]) -> None:
    cluster, place = story.site.cluster, new_place()
    # no replication slot: the WAL since the backup is in the archive only
    conninfo = f"host={cluster.socket_dir} port={cluster.port} user=postgres"
    (made,) = story.site.play(story.restore(place, standby=True, primary_conninfo=conninfo))
    assert made["state"] == "standby"
    assert place.sql("SELECT pg_is_in_recovery(), current_setting('recovery_target_timeline')") == [(True, "latest")]
    assert not (place.data_directory / "recovery.signal").exists()
    story.site.cluster.sql("INSERT INTO words VALUES ('for the standby')")
    wait_until(lambda: "for the standby" in words(place), "the standby had followed")
    assert place.sql("SELECT status FROM pg_stat_wal_receiver") == [("streaming",)]
