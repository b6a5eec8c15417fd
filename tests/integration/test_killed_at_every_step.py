# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups killed at every step: what was there before stays whole, and the next run leaves nothing behind (I1, I2)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from harness import PROGRAMS, run, server_user
from harness.s3 import S3Server
from support import STANZA, Site, objects, task

KILLED = Path(__file__).with_name("killed_backups.py")
# One step in so many of its kind; `make torture` takes every one.
STRIDE = int(os.environ.get("LIFEBOAT_KILL_STRIDE") or 5)


def kill_step_by_step(site: Site, backup_type: str, stride: int = STRIDE) -> list[dict[str, Any]]:
    """The series of backups; see killed_backups.py."""
    script = site.folder / KILLED.name
    script.write_bytes(KILLED.read_bytes())
    script.chmod(0o644)
    done = run(
        [PROGRAMS / "python", script, site.config_file, STANZA, backup_type, str(stride)],
        user=server_user(),
        env={"PYTHONPATH": str(site.ansible.collections)},
        timeout=900,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def judge(notes: list[dict[str, Any]], before: list[str]) -> None:
    """Every earlier backup stayed visible and whole; one that appeared, however it died, is whole too."""
    visible = before
    for note in notes:
        assert (note["failure"], note["wrong"]) == ("", []), note
        assert note["visible"][: len(visible)] == visible, note
        visible = note["visible"]
    assert notes[-1]["step"] == ""


def kinds(notes: list[dict[str, Any]]) -> set[str]:
    """The kinds of steps at which one died."""
    return {note["kind"] for note in notes if note["step"]}


@pytest.mark.timeout(1800)
def test_in_a_directory(bare_site: Site) -> None:
    site = bare_site
    site.play(task("pitr_configure", restart=True, archive_timeout=0), task("pg_backup", type="full"))
    site.cluster.sql("SELECT pg_sleep(1.1)")  # what is written in the second of a start is never taken over
    (first,) = site.backup_ids()

    notes = kill_step_by_step(site, "full")
    judge(notes, [first])
    seen_in_full = kinds(notes)

    site.cluster.sql("UPDATE orders SET amount = 7; CHECKPOINT")
    known = site.backup_ids()
    notes = kill_step_by_step(site, "incremental")
    judge(notes, known)
    everything = {"mkdir", "create", "write", "sync", "replace", "link", "unlink", "rmdir"}
    assert (seen_in_full, kinds(notes)) == (everything, everything)

    last = site.module("pg_backup", type="incremental")["backup"]["id"]
    assert site.backup_ids()[-1] == last
    # What lay beside an intent that is gone is the collector's.
    assert [name for name in objects(site.repository) if name.endswith("/intent")] == []
    site.play(
        task("backup_verify", level="restore", backup=first),
        task("backup_verify", level="restore", backup=last),
    )


@pytest.mark.timeout(1800)
def test_in_a_bucket(bare_site: Site, s3: S3Server) -> None:
    site, bucket = bare_site, s3.new_place()
    credentials = s3.owner.write(site.folder / "etc/s3.credentials")
    site.config_file.write_text(
        site.config_file.read_text().replace(
            f"url = {site.repository}\n",
            f"url = {bucket.url}\ns3_endpoint = {s3.endpoint}\ns3_path_style = yes\n"
            f"s3_credentials_file = {credentials}\n",
        )
    )
    site.play(
        task("pg_backup_repository"),
        task("pitr_configure", restart=True, archive_timeout=0),
        task("pg_backup", type="full"),
    )
    site.cluster.sql("SELECT pg_sleep(1.1)")
    (first,) = site.backup_ids()
    notes = kill_step_by_step(site, "incremental", 2 * STRIDE)
    judge(notes, [first])
    assert kinds(notes) >= {"before-PUT", "after-PUT"}
    last = site.module("pg_backup", type="full")["backup"]["id"]
    assert [name for name in s3.names(bucket) if name.endswith("/intent")] == []
    site.play(task("backup_verify", backup=first), task("backup_verify", backup=last))
