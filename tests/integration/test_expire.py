# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Retention against a real server: what is kept comes back, whatever went, and whatever died on the way (I2)."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import config, retention_policy
from harness import CHECKOUT, PROGRAMS, Cluster, CommandFailed, Postgres, run, server_user
from harness.playbooks import HOST, Ansible
from support import STANZA, Site, objects, script_command, start_and_recover, task

GUIDE = CHECKOUT / "docs/guides/retention.md"
AT_ONCE = {"keep_last": [1], "grace_hours": 0}


@pytest.fixture(scope="module")
def retained_site(postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path]) -> Iterator[Site]:
    """A cluster that archives, with a table that every backup sees in another state."""
    with postgres.clone("expire") as cluster:
        site = Site(ansible, cluster, new_folder())
        site.play(
            site.agent_task,
            task("pg_backup_repository", create_key=True),
            task("pitr_configure", restart=True, archive_timeout=0),
        )
        cluster.sql("CREATE TABLE state AS SELECT g AS n, 0 AS seen, repeat('x', 500) FROM generate_series(1, 5000) g")
        yield site


def back_up(site: Site, **options: Any) -> str:
    """Change a few pages, end the segment and make a backup; its id."""
    site.cluster.sql("UPDATE state SET seen = seen + 1 WHERE n % 100 = 0")
    site.archive_everything()
    site.cluster.sql("CHECKPOINT")
    return str(site.module("pg_backup", **options)["backup"]["id"])


def history(site: Site) -> list[str]:
    """A full backup, two incremental ones, another full one and one on it."""
    return [back_up(site, type=kind) for kind in ("full", "incremental", "incremental", "full", "incremental")]


def packs(site: Site) -> set[str]:
    return {name for name in objects(site.repository) if "/packs/" in name}


def segments(site: Site) -> list[str]:
    return sorted(re.findall(r"/([0-9A-F]{24})-", " ".join(objects(site.repository))))


def good(site: Site, backup_id: str) -> None:
    """Every byte of it can be read."""
    proof = site.module("backup_verify", backup=backup_id)
    assert all(check["ok"] for check in proof["checks"]), proof


@pytest.mark.every_version
def test_what_is_kept_comes_back_after_the_rest_went(
    retained_site: Site, new_place: Callable[[], Cluster], new_folder: Callable[[], Path]
) -> None:
    """The oldest kept one is an incremental one, whose parents expire."""
    site = retained_site
    made = history(site)
    before = packs(site), segments(site)

    policy = {"keep_last": [3], "grace_hours": 0}
    predicted = site.play(task("pg_backup_expire", check=True, **policy))[0]
    assert (packs(site), segments(site), site.backup_ids()) == (*before, made)
    done, again = site.play(task("pg_backup_expire", **policy), task("pg_backup_expire", **policy))
    assert {name: done[name] for name in ("kept", "expired", "wal", "condemned", "deleted")} == {
        name: predicted[name] for name in ("kept", "expired", "wal", "condemned", "deleted")
    }
    assert (predicted["changed"], done["changed"], again["changed"]) == (True, True, False)
    assert [each["id"] for each in done["kept"]] == site.backup_ids() == made[2:]
    assert [each["reasons"] for each in done["expired"]] == [["there are 3 newer ones of the class manual"]] * 2
    assert made[0] in done["diff"]["before"] and made[0] not in done["diff"]["after"]
    assert packs(site) < before[0]
    assert segments(site) == [name for name in before[1] if name > done["wal"][0]["last"]] != before[1]

    for backup_id in made[2:]:
        good(site, backup_id)
    site.module(
        "backup_verify",
        backup=made[2],
        level="restore",
        assertions=[{"name": "everything", "database": "app", "query": "SELECT sum(seen) FROM state", "equals": "250"}],
    )
    rescued, folder = new_place(), new_folder()
    shutil.copy(CHECKOUT / "tools/lifeboat_breakglass.py", folder)
    run(
        [PROGRAMS / "python", folder / "lifeboat_breakglass.py", site.repository, rescued.data_directory]
        + ["--key-file", site.key_file, "--stanza", STANZA, "--backup", made[2]],
        user=server_user(),
    )
    rescued.write_own_settings()
    start_and_recover(rescued)
    assert rescued.sql("SELECT sum(seen) FROM state") == [(150,)]


@pytest.mark.parametrize("point", ["expiring", "1", "marking", "deleting", "9"])
def test_killed_at_any_point_leaves_whole_backups_and_the_next_run_finishes(retained_site: Site, point: str) -> None:
    site = retained_site
    made = [back_up(site, type="full"), back_up(site, type="incremental"), back_up(site, type="full")]
    with pytest.raises(CommandFailed) as failure:
        run(
            [*script_command(site, "dying_expire.py"), point],
            user=server_user(),
            env=site.python_path,
        )
    assert failure.value.done.returncode == -signal.SIGKILL
    left = site.backup_ids()
    assert left[-1] == made[-1]
    good(site, made[-1])
    if point == "1":
        good(site, left[0])
    result = site.module("pg_backup_expire", **AT_ONCE)
    assert site.backup_ids() == [made[-1]]
    assert result["waiting"]["objects"] == 0
    assert packs(site) == {name for name in packs(site) if f"/{made[-1]}/" in name}
    assert not [name for name in objects(site.repository) if "/condemned/" in name or "/intents/" in name]
    good(site, made[-1])


def test_older_backups_keep_the_wal_for_their_own_end(retained_site: Site) -> None:
    site = retained_site
    made = [back_up(site, type="full"), back_up(site), back_up(site)]
    ends = {each["id"]: each["stop_lsn"] for each in site.module("pg_backup_info")["backups"]}
    site.module("pg_backup_expire", keep_last=[2], keep_wal_days=0, grace_hours=0)
    assert site.backup_ids() == made[1:]
    assert ends[made[1]] != ends[made[2]]
    refused, proven, latest = site.play(
        task("backup_verify", backup=made[1], level="restore"),
        task("backup_verify", backup=made[1], level="restore", target_immediate=True),
        task("backup_verify", level="restore"),
        fails=True,
    )
    assert refused["error_code"] == "wal_gap"
    assert not proven["failed"] and not latest["failed"], (proven, latest)
    site.archive_everything()


def test_a_backup_and_expiry_at_the_same_time(retained_site: Site) -> None:
    """The backup is stopped in the middle of copying by a signal that it cannot refuse."""
    site = retained_site
    parent = back_up(site, type="full")
    newer = back_up(site, type="full")
    site.cluster.sql("UPDATE state SET seen = seen + 1")
    site.cluster.sql("CHECKPOINT")
    owner = server_user()
    command = [*script_command(site, "dying_backup.py"), "stopping backup mode", "incremental"]
    become = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
    env = {**os.environ, **site.python_path, "DYING_SIGNAL": "SIGSTOP", "HOME": str(site.folder)}
    with subprocess.Popen([*become, *command], env=env, cwd="/") as backup:
        try:
            os.waitid(os.P_PID, backup.pid, os.WSTOPPED | os.WNOWAIT)
            result = json.loads(site.lifeboat("expire", "--keep-last", "0", "--grace-hours", "0", "--json").stdout)
            assert parent in [each["id"] for each in result["expired"]]
            reasons = {each["id"]: each["reasons"] for each in result["kept"]}
            assert any("is being built on it" in reason for reason in reasons[newer])
            assert result["wal"] == [], "nobody can say yet where the running backup's WAL begins"
        finally:
            os.kill(backup.pid, signal.SIGCONT)
        assert backup.wait() == 0
    made = site.backup_ids()[-1]
    assert made not in (parent, newer)
    good(site, made)
    site.module("pg_backup_expire", **AT_ONCE)
    assert site.backup_ids() == [made]
    good(site, made)
    assert f"keep    {made} (manual): " in site.lifeboat("expire", "--dry-run").stdout


def test_what_backups_there_are_is_read_from_their_manifests_alone(
    retained_site: Site, new_folder: Callable[[], Path]
) -> None:
    """There is no catalog: everything else can be missing, and the list is the same."""
    site, copy = retained_site, new_folder() / "copy"
    back_up(site)
    run(["cp", "-r", site.repository, copy], user=server_user())
    for path in [each for each in (copy / "stanzas").rglob("*") if each.is_file()]:
        if path.name != "manifest" and not {"incarnations", "wal"} & set(path.parts):
            path.unlink()
    listed = json.loads(site.lifeboat("info", "--json").stdout)
    options = ("--repository", copy, "--key-file", site.key_file, "--stanza", STANZA)
    assert json.loads(site.lifeboat("info", "--json", *options).stdout)["backups"] == listed["backups"] != []


def test_the_guide_says_what_works(retained_site: Site) -> None:
    site, text = retained_site, GUIDE.read_text()
    (play,) = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    play.update(hosts=HOST, become=False, gather_facts=False)
    play["module_defaults"] = {
        "group/lifeboat.postgresql.lifeboat": {"config_file": site.config_file, "agent_command": site.command}
    }
    finished = site.ansible.playbook(json.dumps([play], indent=1, default=str))
    kept = finished.task("Keep two weeks, and two backups from before migrations for three months").result["kept"]
    assert [each["id"] for each in kept] == site.backup_ids()
    assert all("younger than 14 days" in each["reasons"] for each in kept)

    described = site.folder / "guide.conf"
    repository = f"[repository local]\nurl = {site.repository}\nkey_file = {site.key_file}\n\n"
    described.write_text(repository + re.findall(r"```ini\n(.*?)```", text, re.DOTALL)[0])
    values = config.cluster_settings(config.read(described), described, "main")
    assert retention_policy.parse(values).last_of("pre_migration") == 2
