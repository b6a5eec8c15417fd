# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`lifeboat status` and `pg_backup_info` with status, on real servers that are well, and that are not."""

from __future__ import annotations

import json
from typing import Any

from harness import run, server_folder, server_user, wait_until
from harness.cluster import LOCAL_ADDRESS, PASSWORD, PASSWORD_ROLE
from receiving import Receiver, finish_segment
from support import Result, Site, task, tree


def seen(site: Site, status: int, *arguments: str, **how: Any) -> Result:
    """What the command finds of the one cluster, with its exit status."""
    done = site.lifeboat("status", *arguments, "--json", check=False, **how)
    assert done.returncode == status, done
    found = json.loads(done.stdout)
    assert found["level"] == status
    (only,) = found["clusters"]
    return dict(only)


def codes(found: Result) -> set[str]:
    """Which findings there are."""
    return {finding["code"] for finding in found["findings"]}


def test_from_nothing_to_everything_well_and_back(bare_site: Site) -> None:
    site = bare_site
    assert codes(seen(site, 2)) == {"cluster_not_claimed", "not_archiving", "no_backup"}

    site.play(task("pitr_configure", restart=True), task("pg_backup"))
    before = (site.settings(), tree(site.repository))
    well = seen(site, 0)
    assert (well["findings"], well["archive"]["lag_segments"], well["archive"]["failing"]) == ([], 0, False)
    assert well["repositories"][0]["newest"]["backup_id"] == site.backup_ids()[-1]
    (judged,) = site.play(task("pg_backup_info", status=True, check=True))
    assert (judged["changed"], judged["status"]["state"]) == (False, "ok")
    assert judged["backups"]
    screen = site.lifeboat("status").stdout
    assert screen.startswith("main: OK") and site.backup_ids()[-1] in screen
    assert (site.settings(), tree(site.repository)) == before

    away = site.repository.rename(site.folder / "away")
    finish_segment(site.cluster)
    failing = "SELECT failed_count > 0 FROM pg_stat_archiver"
    wait_until(lambda: site.cluster.sql(failing) == [(True,)], "archiving had failed")
    found = seen(site, 2)
    assert codes(found) == {"repository_unreachable", "archiving_fails"}
    assert found["archive"]["lag_segments"] == 1 and found["archive"]["lag_seconds"] >= 0
    (reason,) = [each["what"] for each in found["findings"] if each["code"] == "archiving_fails"]
    assert "Lifeboat says: error [" in reason
    unread = site.module("pg_backup_info", status=True)
    assert (unread["backups"], unread["status"]["state"]) == ([], "critical")
    assert any("archive" in line for line in unread["status"]["archive"]["server_log"])
    screen = site.lifeboat("status", check=False).stdout
    assert "main: CRITICAL" in screen and "cannot be read" in screen

    away.rename(site.repository)
    site.cluster.stop()
    stopped = seen(site, 2)
    assert "server_stopped" in codes(stopped)
    assert stopped["server"] == {
        "running": False, "reachable": False, "error": "", "major_version": None, "in_recovery": None,
    }  # fmt: skip
    assert stopped["repositories"][0]["backups"] == 1


def test_thresholds_are_the_clusters_own_and_nobody_hides_another(bare_site: Site) -> None:
    site = bare_site
    site.play(task("pitr_configure", restart=True), task("pg_backup"))
    text = site.config_file.read_text()
    site.config_file.write_text(text + "thresholds = backup_age=0s/1d\n\n[cluster gone]\nrepository = nowhere\n")
    assert codes(seen(site, 1)) == {"backup_too_old"}
    done = site.lifeboat("status", "main", check=False)
    assert (done.returncode, done.stdout.startswith("main: WARNING")) == (1, True)
    both = run_without_cluster(site)
    assert [(each["cluster"], each["state"]) for each in both["clusters"]] == [
        ("gone", "critical"),
        ("main", "warning"),
    ]
    assert codes(both["clusters"][0]) == {"config_invalid"}


def run_without_cluster(site: Site) -> Result:
    """Every cluster of the configuration file."""
    done = run([site.command, "status", "--config", site.config_file, "--json"], user=server_user(), check=False)
    assert done.returncode == 2, done
    return dict(json.loads(done.stdout))


def test_a_receiver_is_proven_and_watched(bare_site: Site) -> None:
    site = bare_site
    spool = server_folder(site.folder / "spools", 0o700) / "main"
    site.config_file.write_text(site.config_file.read_text() + f"wal_method = stream\nspool = {spool}\n")
    streamed = {"restart": True}
    made = site.module("pitr_configure", **streamed)
    assert made["slot"] == "lifeboat_main" and not made["proven_segment"]
    assert {"receiver_missing", "no_backup"} == codes(seen(site, 2))
    with Receiver(site, spool, "--wal-method", "stream"):
        active = "SELECT count(*) FROM pg_replication_slots WHERE active"
        wait_until(lambda: site.cluster.sql(active) == [(1,)], "the receiver was connected")
        proven = site.module("pitr_configure", **streamed)
        assert not proven["changed"] and proven["proven_segment"]
        assert site.cluster.sql("SHOW archive_mode") == [("off",)]
        found = seen(site, 2)
        assert codes(found) == {"no_backup"}
        assert (found["slot"]["received"], found["receiver"]["alive"]) == (True, True)
        over_tcp = site.module(
            "pg_backup_info",
            status=True,
            method="stream",
            login_host=LOCAL_ADDRESS,
            login_port=site.cluster.port,
            login_user=PASSWORD_ROLE,
            login_password=PASSWORD,
        )["status"]
        assert codes(over_tcp) == {"no_backup"}
        assert over_tcp["archive"]["background_alive"] is None
        site.module("pg_backup")  # its WAL comes this way too
        assert site.lifeboat("restore-point", "received").returncode == 0
        assert codes(seen(site, 0)) == set()
    gone = site.refused("receiver_not_connected", "pitr_configure", **streamed)
    assert "lifeboat_main" in gone["happened"]
