# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An interrupted restore cannot be started by mistake and goes on when it is run again (I6)."""

from __future__ import annotations

import signal
from collections.abc import Callable

from harness import Cluster, run, server_user
from support import Site, script_command, start_and_recover, tree


def dying_restore(site: Site, place: Cluster, point: str) -> None:
    """Run a restore that is killed at this point."""
    command = [*script_command(site, "dying_restore.py", place.socket_dir), site.command, place.data_directory, point]
    done = run(command, user=server_user(), env=site.python_path, check=False)
    assert done.returncode == -signal.SIGKILL, done


def test_wherever_it_dies_it_cannot_be_started_and_goes_on(site: Site, new_place: Callable[[], Cluster]) -> None:
    place = new_place()
    where = {
        "destination": place.data_directory,
        "port": place.port,
        "socket_directory": place.socket_dir,
        "start": False,
    }
    for point in ("writing files", "bytes", "syncing files", "fetching WAL", "finishing the directory"):
        dying_restore(site, place, point)
        assert any(place.data_directory.iterdir()), point
        for program, *arguments in (("pg_ctl", "start", "--wait"), ("pg_resetwal",)):
            done = place.postgres.run(program, *arguments, "--pgdata", place.data_directory, check=False)
            assert done.returncode != 0, (point, done)
        assert not place.is_running()
    made = site.module("pg_restore", **where)
    assert made["backup"]["id"] == site.backup_ids()[-1]
    place.postgres.run("pg_verifybackup", place.data_directory)
    start_and_recover(place)
    assert place.sql("SELECT count(*) FROM orders") == [(5000,)]


def test_what_could_be_started_is_never_taken_for_unfinished(site: Site, new_place: Callable[[], Cluster]) -> None:
    """Killed after the last file that a server needs, the directory may have been in use since."""
    place = new_place()
    dying_restore(site, place, "pg_control")
    before = tree(place.data_directory)
    site.refused("directory_not_empty", "pg_restore", destination=place.data_directory)
    assert tree(place.data_directory) == before


def test_a_failure_midway_keeps_to_the_same_rules(site: Site, new_place: Callable[[], Cluster]) -> None:
    """A file system that becomes full, here by a limit on the size of files."""
    place = new_place()
    command = [*script_command(site, "dying_restore.py", place.socket_dir), site.command, place.data_directory, "never"]
    done = run(
        ["prlimit", "--fsize=2000000", *command],
        user=server_user(),
        env=site.python_path,
        check=False,
    )
    assert done.returncode == 1 and "run the same restore again" in done.stderr
    start = place.postgres.run("pg_ctl", "start", "--wait", "--pgdata", place.data_directory, check=False)
    assert start.returncode != 0 and not place.is_running()
    site.module(
        "pg_restore", destination=place.data_directory, port=place.port, socket_directory=place.socket_dir, start=False
    )
    place.postgres.run("pg_verifybackup", place.data_directory)
