# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proof by restoring never touches production, whatever production's WAL says, and leaves nothing behind.

A tablespace made after the backup is in the WAL with its literal path: on production's machine, replaying that writes
into production's own files.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from harness import Cluster, Postgres, cannot_be_had, server_folder, server_user, wait_until
from harness.guard import processes_in
from harness.playbooks import Ansible
from support import STANZA, Site, assert_refused, task, tree

# A namespace in which no further one can be made, as on a hardened machine or in most containers.
LIMIT = "echo 0 > /proc/sys/user/max_user_namespaces"
HARDENED = f'read go; exec sh -c \'{LIMIT}; exec "$@"\' sh "$@"'  # root there only from its next program on


@pytest.fixture(scope="module")
def production(postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path]) -> Iterator[Site]:
    """A site with a backup, and tablespaces made after it: one in use, one that is gone with its directory."""
    with postgres.clone("production") as cluster:
        site = Site(ansible, cluster, new_folder())
        site.play(
            site.agent_task,
            task("pg_backup_repository", create_key=True),
            task("pitr_configure", restart=True, archive_timeout=0),
            task("pg_backup"),
        )
        gone, kept = server_folder(site.folder / "gone", 0o700), server_folder(site.folder / "kept", 0o700)
        cluster.set(
            autovacuum="off",
            archive_cleanup_command=f"touch {site.folder}/tidied",
            recovery_end_command=f"touch {site.folder}/ended",
        )
        cluster.sql(f"CREATE TABLESPACE gone LOCATION '{gone}'")
        cluster.sql("CREATE TABLE passing TABLESPACE gone AS SELECT 1")
        cluster.sql("DROP TABLE passing; CHECKPOINT")
        cluster.sql("DROP TABLESPACE gone")
        gone.rmdir()
        cluster.sql(f"CREATE TABLESPACE kept LOCATION '{kept}'")
        cluster.sql("CREATE TABLE far TABLESPACE kept AS SELECT generate_series(1, 1000) AS n")
        site.archive_everything()
        cluster.sql("INSERT INTO far SELECT generate_series(1001, 3000)")
        cluster.sql("CHECKPOINT")
        yield site


def assertions(rows: int) -> list[dict[str, object]]:
    return [{"name": "far", "database": "app", "table": "far", "equals": str(rows)}]


@pytest.mark.parametrize("owner", [False, True], ids=["as root", "as the server's user"])
def test_a_replayed_tablespace_has_a_place_of_its_own(
    owner: bool, production: Site, new_place: Callable[[], Cluster]
) -> None:
    kept, scratch = production.folder / "kept", new_place().socket_dir
    # production is ahead of its archive, so that its files are not what the scratch server writes
    before = tree(kept)
    assert len(before) > 3
    (proof,) = production.play(
        task("backup_verify", level="restore", scratch_directory=scratch, assertions=assertions(1000)),
        as_server_user=owner,
    )
    expected = "user namespace" if owner or os.geteuid() != 0 else "mount namespace"
    assert proof["isolation"] == expected, proof
    assert all(check["ok"] for check in proof["checks"]), proof
    assert tree(kept) == before
    assert production.cluster.sql("SELECT count(*) FROM far") == [(3000,)]
    assert not {"gone", "tidied", "ended"} & {path.name for path in production.folder.iterdir()}
    assert list(scratch.iterdir()) == []


def test_where_no_sandbox_can_be_it_is_refused(production: Site, new_place: Callable[[], Cluster]) -> None:
    if os.geteuid() != 0:
        cannot_be_had("only root can make a machine that forbids namespaces")
    kept, scratch = production.folder / "kept", new_place().socket_dir
    before = tree(kept)
    user = server_user()
    identity = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    verify = [production.command, "verify", "--config", production.config_file, "--cluster", STANZA]
    process = subprocess.Popen(
        ["unshare", "--user", "sh", "-c", HARDENED, "sh", "setpriv", *identity, *verify]
        + ["--level", "restore", "--scratch-directory", scratch],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    own = os.readlink("/proc/self/ns/user")
    wait_until(lambda: os.readlink(f"/proc/{process.pid}/ns/user") != own, "there was a namespace")
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{process.pid}/{name}").write_text("0 0 65536\n")
    _said, complaint = process.communicate("go\n", timeout=120)
    assert process.returncode == 1 and "error [tablespace_newer_than_backup]" in complaint, complaint
    assert str(kept) in complaint and "no sandbox" in complaint
    assert tree(kept) == before
    assert list(scratch.iterdir()) == []


def test_a_restore_beside_production_is_refused(production: Site, new_place: Callable[[], Cluster]) -> None:
    """The restored cluster stays, and no sandbox with it."""
    kept, place = production.folder / "kept", new_place()
    before = tree(kept)
    refusal = production.play(task("pg_restore", destination=place.data_directory), fails=True)[0]
    assert str(kept) in assert_refused("tablespace_newer_than_backup", refusal)["happened"]
    assert not place.data_directory.exists()
    assert tree(kept) == before


def test_the_server_dies_with_its_worker_and_the_next_run_cleans_up(
    site: Site, new_place: Callable[[], Cluster]
) -> None:
    scratch = new_place().socket_dir
    verify = [str(site.command), "verify", "--config", str(site.config_file), "--cluster", STANZA]
    options = ["--level", "restore", "--scratch-directory", str(scratch)]
    user = server_user()
    job = subprocess.Popen(
        [*verify, *options],
        cwd="/",
        env={"PATH": os.environ["PATH"]},
        user=user.pw_uid if os.geteuid() == 0 else None,
        group=user.pw_gid if os.geteuid() == 0 else None,
        extra_groups=[] if os.geteuid() == 0 else None,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: bool(processes_in(scratch)), "the scratch server ran")
        os.kill(job.pid, signal.SIGKILL)
    finally:
        with suppress(ProcessLookupError):
            job.kill()
        job.wait()
    wait_until(lambda: not processes_in(scratch), "the scratch server was gone")
    assert len(list(scratch.iterdir())) == 1
    site.lifeboat("verify", *options)
    assert list(scratch.iterdir()) == []
