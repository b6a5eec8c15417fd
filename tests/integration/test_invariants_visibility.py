# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup is visible only when it is whole: its manifest comes last, when everything it names is durable (I1).

Backups killed at each phase are in test_interrupted_backup.py; here are the real command, killed and failing, and the
order in which things become durable.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import wal_spool
from harness import PROGRAMS, run, server_user, wait_until
from harness.machine import CLEAN_ENVIRONMENT
from support import STANZA, Site, objects

WATCHED = Path(__file__).with_name("watched_backup.py")


@contextlib.contextmanager
def archiving_stuck(site: Site) -> Iterator[None]:
    """The server cannot archive for a while, so no backup can become whole."""
    ((command,),) = site.cluster.sql("SHOW archive_command")
    site.cluster.set(archive_command="/bin/false")
    bell = wal_spool.WalSpool(str(site.cluster.data_directory), "").bell(wal_spool.PUSH)
    wait_until(lambda: not wal_spool.ring(bell, "end"), "the background had ended")  # it would go on by itself
    try:
        yield
    finally:
        site.cluster.set(archive_command=command)


def backup_sessions(site: Site) -> int:
    """How many sessions of ours the server has."""
    ((count,),) = site.cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lifeboat'")
    return int(count)


def test_killed_while_it_waits_for_wal(site: Site) -> None:
    """As root, so that there are two processes: the one that is killed, and the owner's that does the work."""
    known = site.backup_ids()
    command = [str(site.command), "backup", "--config", str(site.config_file), "--cluster", STANZA]
    with (
        archiving_stuck(site),
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd="/", env=CLEAN_ENVIRONMENT) as process,
    ):
        assert process.stderr is not None
        assert any("waiting for WAL" in line for line in process.stderr)
        assert backup_sessions(site) == 1
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        wait_until(lambda: backup_sessions(site) == 0, "the server had noticed the end of the backup")
        assert site.backup_ids() == known
    proof = site.module("backup_verify", backup=known[-1])
    assert all(check["ok"] for check in proof["checks"])
    made = site.module("pg_backup")["backup"]["id"]
    assert site.backup_ids() == [*known, made]


def test_failed_because_wal_does_not_arrive(site: Site) -> None:
    site.module("pg_backup")  # nothing of a killed one is left to clean up
    known, before = site.backup_ids(), list(objects(site.repository))
    with archiving_stuck(site):
        refusal = site.refused("wal_not_archived", "pg_backup", archive_wait=0, type="full")
    assert "archive_command" in refusal["remedy"]
    assert "within 0 s" in refusal["msg"]
    assert site.backup_ids() == known
    site.archive_everything()
    left = [name for name in objects(site.repository) if name not in before and "/wal/" not in name]
    assert left == []


def test_the_manifest_comes_when_everything_else_is_durable(site: Site) -> None:
    script = site.folder / WATCHED.name
    script.write_bytes(WATCHED.read_bytes())
    script.chmod(0o644)
    env = {"PYTHONPATH": str(site.ansible.collections)}
    done = run([PROGRAMS / "python", script, site.config_file, STANZA], user=server_user(), env=env)
    script.unlink()
    notes = [(what, Path(name)) for what, name in json.loads(done.stdout)]
    newest = site.backup_ids()[-1]

    named = {name: at for at, (what, name) in enumerate(notes) if what == "name"}
    (manifest,) = (name for name in named if name.name == "manifest")
    assert manifest.parent.name == newest
    packs = [name for name in named if "packs" in name.parts]
    assert {str(pack.relative_to(site.repository)) for pack in packs} == {
        name for name in objects(site.repository) if f"/{newest}/packs/" in name
    }
    for name in (*packs, manifest):
        temporary = notes[named[name] + 1][1]
        assert ("sync", temporary) in notes[: named[name]], f"{name} was named before it was durable"
        directory_durable = notes.index(("sync", name.parent), named[name])
        assert name == manifest or directory_durable < named[manifest], f"{name} was not durable before the manifest"
    generation = packs[0].parents[1]
    for new_names_in in (generation, generation.parent, manifest.parents[1]):
        assert ("sync", new_names_in) in notes, f"the folder made in {new_names_in} may not outlive a crash"
