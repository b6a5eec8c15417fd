# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups that die, and the ones after them: nothing half-visible, nothing read twice, nothing left behind (I1, I2)."""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import CommandFailed, run, server_user
from support import Site, objects, script_command, task


def dying_backup(site: Site, point: str) -> None:
    """Run a full backup that is killed at this point."""
    with pytest.raises(CommandFailed) as failure:
        run([*script_command(site, "dying_backup.py"), point], user=server_user(), env=site.python_path)
    assert failure.value.done.returncode == -signal.SIGKILL


def packs(site: Site) -> set[str]:
    """The packs in the repository."""
    return {name for name in objects(site.repository) if "/packs/" in name}


def intents(site: Site) -> list[str]:
    """What running or dead backups have declared."""
    return [name for name in objects(site.repository) if "/intents/" in name]


@pytest.fixture
def archiving_site(bare_site: Site) -> Site:
    """A site of the test's own that archives and has one backup."""
    bare_site.play(task("pitr_configure", restart=True), task("pg_backup", type="full"))
    return bare_site


@pytest.mark.parametrize("point", ["copying files", "journal", "stopping backup mode", "publishing"])
def test_killed_backup_is_invisible_and_cleaned_up(archiving_site: Site, point: str) -> None:
    site = archiving_site
    before = site.backup_ids()
    dying_backup(site, point)
    assert site.backup_ids() == before
    assert intents(site)

    result = site.module("pg_backup", type="incremental")  # another kind: it cannot go on, so it cleans up
    assert site.backup_ids() == [*before, result["backup"]["id"]]
    assert intents(site) == []
    site.module("backup_verify", backup=before[0])
    site.module("backup_verify")
    leftover = packs(site) - {name for name in packs(site) if before[0] in name}
    assert leftover == set()


def test_backup_goes_on_after_a_kill(archiving_site: Site) -> None:
    site = archiving_site
    site.cluster.sql("CREATE TABLE more AS SELECT g, md5(g::text) FROM generate_series(1, 200000) g; CHECKPOINT")
    # what was written in the second in which the backup begins is read again, whatever was noted
    site.cluster.sql("SELECT pg_sleep(1.1)")
    dying_backup(site, "journal")
    kept = packs(site)
    site.cluster.sql("UPDATE more SET md5 = 'changed' WHERE g = 77777; CHECKPOINT")

    whole = site.module("pg_backup", type="full")["backup"]
    assert kept <= packs(site), "packs of the interrupted backup were not used"
    assert whole["stored_bytes"] < site.module("pg_backup", type="full")["backup"]["stored_bytes"]
    assert intents(site) == []
    site.module("backup_verify", backup=whole["id"])
    site.module(
        "backup_verify",
        backup=whole["id"],
        level="restore",
        assertions=[
            {"name": "all rows", "database": "app", "table": "more", "equals": "200000"},
            {
                "name": "the change",
                "database": "app",
                "query": "SELECT md5 FROM more WHERE g = 77777",
                "equals": "changed",
            },
        ],
    )


def test_second_backup_says_who_is_running(archiving_site: Site) -> None:
    site = archiving_site
    # Stopped in the middle of copying by a signal that it cannot refuse, it still holds its intent.
    become = ["setpriv", f"--reuid={server_user().pw_uid}", f"--regid={server_user().pw_gid}", "--clear-groups"]
    command = [*become, *script_command(site, "dying_backup.py"), "copying files"]
    env = {**os.environ, **site.python_path, "DYING_SIGNAL": "SIGSTOP", "HOME": str(site.folder)}
    with subprocess.Popen(command, env=env, cwd="/") as first:
        try:
            os.waitid(os.P_PID, first.pid, os.WSTOPPED | os.WNOWAIT)
            result = site.refused("backup_running", "pg_backup")
            assert str(first.pid) in result["happened"]
        finally:
            os.kill(first.pid, signal.SIGCONT)
        assert first.wait() == 0
    assert len(site.backup_ids()) == 2


def test_of_two_that_begin_together_one_wins(archiving_site: Site) -> None:
    """The other says who holds the cluster."""
    site = archiving_site
    known = site.backup_ids()
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(lambda _number: site.lifeboat("backup", check=False), range(2)))
    winners = [done for done in both if done.returncode == 0]
    assert len(site.backup_ids()) == len(known) + len(winners)
    assert winners, both
    for loser in both:
        if loser not in winners:
            assert "error [backup_running]" in loser.stderr and "(process " in loser.stderr, loser
    assert intents(site) == []
