# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main road on every version: back up, list, prove, restore; by plays and by the command, as root and as the owner.

PostgreSQL's own tools judge what comes back.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from harness import Cluster, CommandFailed
from judging import judge_running, judge_stopped
from support import Site, start_and_recover, task, tree


def test_backup_list_and_content(site: Site) -> None:
    untouched, known = tree(site.repository), site.backup_ids()
    (predicted, young_predicted) = site.play(task("pg_backup", check=True), task("pg_backup", check=True, max_age=1))
    assert (predicted["changed"], predicted["backup"]) == (True, {})
    assert (young_predicted["changed"], young_predicted["backup"]["id"]) == (False, known[-1])
    assert tree(site.repository) == untouched

    finished = site.playbook(
        task("pg_backup", annotations={"ticket": 4711}),
        task("pg_backup", max_age=1),
        task("pg_backup_info"),
        task("backup_verify"),
        progress=True,
    )
    made, young, info, proof = (each.result for each in finished.tasks)
    backup = made["backup"]
    assert made["changed"] and not young["changed"] and not info["changed"] and not proof["changed"]
    assert young["backup"] == backup == info["backups"][-1]
    assert (backup["annotations"], backup["damaged_pages"]) == ({"ticket": "4711"}, 0)
    assert [each["id"] for each in info["backups"]] == [*known, backup["id"]] == site.backup_ids()
    assert info["windows"][-1] == {
        "backup_id": backup["id"],
        "earliest": backup["recoverable_from"],
        "last_segment": info["wal"]["last"],
        "partial_until": None,
        "missing_segments": [],
    }
    assert proof["backup_id"] == backup["id"]
    assert all(check["ok"] for check in proof["checks"])
    assert f"{backup['files']} files" in proof["checks"][0]["evidence"]
    for phase in ("copying files", "waiting for WAL", "publishing", "reading every byte"):
        assert phase in finished.output


def test_the_command_backs_up_as_root_and_as_the_owner(site: Site) -> None:
    known = site.backup_ids()
    by_owner = json.loads(site.lifeboat("backup", "--json").stdout)["backup"]["id"]
    by_root = json.loads(site.lifeboat("backup", "--json", user=None).stdout)["backup"]["id"]
    assert site.backup_ids() == [*known, by_owner, by_root]
    assert {path.owner() for path in site.repository.rglob("*")} == {site.cluster.owner}
    young = site.lifeboat("backup", "--max-age", "1").stdout
    assert by_root in young and "nothing to do" in young
    assert site.backup_ids()[-1] == by_root
    assert by_owner in site.lifeboat("info").stdout


@pytest.mark.every_version
def test_a_proof_by_restoring(site: Site, new_place: Callable[[], Cluster]) -> None:
    scratch = new_place().socket_dir  # a directory of the server's user
    orders = {"name": "orders", "database": "app", "table": "orders"}
    options = {"level": "restore", "scratch_directory": scratch}
    good, bad, planned = site.play(
        task("backup_verify", **options, assertions=[{**orders, "equals": 5000}], rto_target=600),
        task("backup_verify", **options, assertions=[{**orders, "at_least": 5001}], rto_target=0),
        task("backup_verify", **options, check=True),
        fails=True,
    )
    assert not good["failed"], good
    checks = {check["name"]: check for check in good["checks"]}
    assert {"pg_verifybackup", "recovery", "orders", "amcheck", "page checksums", "RTO"} == set(checks)
    assert all(check["ok"] for check in good["checks"])
    assert good["rto_seconds"] > 0
    assert (bad["failed"], bad["error_code"]) == (True, "verification_failed")
    assert {check["name"] for check in bad["checks"] if not check["ok"]} == {"orders", "RTO"}
    assert planned["backup_id"] == good["backup_id"]
    assert tree(scratch) == {str(scratch): (0o700, "")}


def test_a_restore_of_everything_archived(site: Site, new_place: Callable[[], Cluster]) -> None:
    site.cluster.sql("CREATE TABLE IF NOT EXISTS late AS SELECT 'after all backups' AS word")
    site.archive_everything()
    restored = new_place()
    where = {
        "destination": restored.data_directory,
        "port": restored.port,
        "socket_directory": restored.socket_dir,
    }
    (predicted,) = site.play(task("pg_restore", **where, check=True))
    assert predicted["changed"] and not restored.data_directory.exists()
    (made,) = site.play(task("pg_restore", **where), progress=True)
    assert made["backup"] == predicted["backup"]
    assert (made["running"], made["missing_segments"]) == (True, [])

    assert restored.sql("SELECT count(*) FROM orders") == [(5000,)]
    assert restored.sql("SELECT word FROM late") == [("after all backups",)]
    assert restored.sql("SELECT pg_is_in_recovery(), current_setting('archive_mode')") == [(False, "off")]
    assert {path.owner() for path in restored.data_directory.rglob("*")} == {site.cluster.owner}
    assert restored.data_directory.stat().st_mode & 0o777 == 0o700
    judge_running(restored)
    judge_stopped(restored)


def test_a_directory_that_is_not_started_passes_pg_verifybackup(site: Site, new_place: Callable[[], Cluster]) -> None:
    restored = new_place()
    made = site.module(
        "pg_restore",
        destination=restored.data_directory,
        port=restored.port,
        socket_directory=restored.socket_dir,
        start=False,
    )
    assert not made["running"] and not restored.is_running()
    restored.postgres.run("pg_verifybackup", restored.data_directory)
    table = next((restored.data_directory / "base").rglob("1259"))
    first, *rest = content = table.read_bytes()
    table.write_bytes(bytes([first ^ 1, *rest]))
    try:
        restored.postgres.run("pg_verifybackup", restored.data_directory)
    except CommandFailed as complaint:
        assert str(table.relative_to(restored.data_directory)) in str(complaint)
    else:
        raise AssertionError("pg_verifybackup had nothing to compare with")
    table.write_bytes(content)
    start_and_recover(restored)
    assert restored.sql("SELECT count(*) FROM orders") == [(5000,)]


def test_all_of_it_as_the_data_directorys_owner(site: Site, new_place: Callable[[], Cluster]) -> None:
    restored = new_place()
    info, backup, repository, archiving, proof, restore = site.play(
        task("pg_backup_info"),
        task("pg_backup"),
        task("pg_backup_repository"),
        task("pitr_configure", archive_timeout=0),
        task("backup_verify"),
        task(
            "pg_restore",
            destination=restored.data_directory,
            port=restored.port,
            socket_directory=restored.socket_dir,
        ),
        as_server_user=True,
        progress=True,
    )
    assert backup["changed"] and backup["backup"]["id"] not in [each["id"] for each in info["backups"]]
    assert not repository["changed"] and not archiving["changed"]
    assert proof["backup_id"] == restore["backup"]["id"] == backup["backup"]["id"]
    assert restored.sql("SELECT count(*) FROM orders") == [(5000,)]
