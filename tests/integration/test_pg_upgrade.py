# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's own pg_upgrade, from the oldest version of this run to the newest: two lives of one cluster.

Nothing of the new one gets into the old one's archive, nothing is lost on the way, and both can be recovered.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness import (
    CHECKOUT,
    PASSWORD,
    PASSWORD_ROLE,
    Cluster,
    Postgres,
    RunFolder,
    free_port,
    run,
    server_folder,
    server_user,
    versions,
    wait_until,
)
from harness.cluster import LOCAL_ADDRESS
from harness.playbooks import Ansible
from receiving import Receiver, finish_segment
from support import Site, objects, task
from test_roles import Host

OLD, NEW = versions()[0], versions()[-1]
GUIDE = CHECKOUT / "docs/guides/upgrade.md"
CLAIM_FILE = "lifeboat.incarnation"


class Upgrade:
    """The two versions, and the program that leads from one to the other."""

    def __init__(self, old: Postgres, new: Postgres, place: ExitStack, new_folder: Callable[[], Path]) -> None:
        self.old = old
        self.new = new
        self._place = place
        self._new_folder = new_folder

    def start_old(self) -> Cluster:
        """A cluster of the old version."""
        return self._place.enter_context(self.old.clone("before"))

    def run(self, before: Cluster, *options: str) -> Cluster:
        """Stop a cluster and upgrade it, as its owner; the new one, not started, with the old one's settings."""
        before.stop()
        after = self.new.empty("after", before.port)
        self._place.callback(after.remove)
        folder = server_folder(self._new_folder() / "u", 0o700)
        command = [
            self.new.bin_dir / "pg_upgrade",
            *("--old-bindir", self.old.bin_dir, "--new-bindir", self.new.bin_dir),
            *("--old-datadir", before.data_directory, "--new-datadir", after.data_directory),
            *("--username", "postgres", "--socketdir", folder, *options),
        ]
        run(command, user=server_user(), cwd=folder)
        own = before.data_directory / "postgresql.auto.conf"
        (after.data_directory / own.name).write_bytes(own.read_bytes())
        return after

    def place(self, postgres: Postgres) -> Cluster:
        """Where a cluster of one of the versions can be restored."""
        made = postgres.adopt(self._new_folder() / "data", free_port(), self._new_folder())
        self._place.callback(made.remove)
        return made


@pytest.fixture
def upgrade(
    run_folder: RunFolder, postgres_versions: dict[int, Postgres], new_folder: Callable[[], Path]
) -> Iterator[Upgrade]:
    """From the oldest version of this run to the newest; with one version only, from that to itself."""
    for major in (OLD, NEW):
        if major not in postgres_versions:
            postgres_versions[major] = Postgres(major, run_folder)
    with ExitStack() as place:
        yield Upgrade(postgres_versions[OLD], postgres_versions[NEW], place, new_folder)


def restored(site: Site, place: Cluster, **target: Any) -> list[tuple[Any, ...]]:
    """What a restore to a target has in the table."""
    site.module(
        "pg_restore",
        destination=place.data_directory,
        port=place.port,
        socket_directory=place.socket_dir,
        bin_dir=place.postgres.bin_dir,
        **target,
    )
    assert place.sql("SHOW server_version_num")[0][0].startswith(str(place.postgres.major))
    return [n for (n,) in place.sql("SELECT n FROM lives ORDER BY n")]


def test_a_cluster_goes_on_in_a_new_life_that_the_role_claims_and_both_can_be_recovered(
    upgrade: Upgrade, ansible: Ansible, new_folder: Callable[[], Path]
) -> None:
    before = upgrade.start_old()
    folder, backups = new_folder(), "backups"
    host = Host(ansible, before, folder)
    host.play("configure", archiving_restart=True)
    guide = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)[0])
    Site(ansible, before, folder).playbook(*guide[0]["tasks"])
    before.sql("CREATE TABLE lives AS SELECT 1 AS n")
    ((old_moment,),) = before.sql("SELECT clock_timestamp()")
    before.sql("INSERT INTO lives VALUES (2)")  # with what the server archives when it is stopped
    after = upgrade.run(before)
    host, site = Host(ansible, after, folder), Site(ansible, after, folder)
    old_life = set(objects(folder / backups))

    # Nobody has said what it is: nothing is archived, everything says so, the server keeps its WAL.
    host.play("configure", fails=True)  # with the new data directory in the configuration
    copied = after.data_directory / CLAIM_FILE
    run(["cp", before.data_directory / CLAIM_FILE, copied], user=server_user())  # as if it were a setting
    after.start()
    waiting = [finish_segment(after)]
    wait_until(lambda: "claim_of_another_cluster" in after.log_tail(200), "a claim that was copied counted for nothing")
    copied.unlink()
    waiting += [finish_segment(after) for _each in range(2)]
    wait_until(lambda: "cluster_not_claimed" in after.log_tail(200), "the server's log said what is wrong")
    assert "after pg_upgrade" in after.log_tail(200) and "claim: incarnation" in after.log_tail(200)
    status = site.lifeboat("status", check=False)
    assert status.returncode == 2 and "claim: incarnation" in " ".join(status.stdout.split())
    (info,) = site.play(task("pg_backup_info", status=True))
    codes = {finding["code"] for finding in info["status"]["findings"]}
    assert {"cluster_not_claimed", "stanza_of_another_cluster", "archiving_fails"} <= codes
    for refused in ("pg_backup", "pitr_configure"):
        site.refused("stanza_of_another_cluster", refused)
    site.refused("stanza_of_another_cluster", "pitr_configure", claim="timeline")
    assert set(objects(folder / backups)) == old_life
    statuses = after.data_directory / "pg_wal/archive_status"
    assert {f"{name}.ready" for name in waiting} <= {path.name for path in statuses.iterdir()}

    # The claim: predicted, made once, and what has waited is there.
    ((first_moment,),) = after.sql("SELECT clock_timestamp()")
    predicted = host.play("configure", archiving_claim="incarnation", check=True)
    assert set(objects(folder / backups)) == old_life
    done = host.play("configure", archiving_claim="incarnation")
    assert [each.task for each in predicted.changed] == [each.task for each in done.changed]
    (claimed,) = done.task("lifeboat.postgresql.archiving : Archive WAL, and prove it").result["results"]
    assert claimed["registered"] and claimed["proven_segment"] > waiting[-1]
    wait_until(lambda: not list(statuses.glob("*.ready")), "what had waited was archived")
    new_life = {name for name in objects(folder / backups) if f"/wal/{claimed['incarnation']}/" in name}
    assert set(waiting) <= {Path(name).name[:24] for name in new_life}
    assert not host.play("configure", archiving_claim="incarnation").changed

    # The role's first backup is one of this life, whatever the one before has. Both lives are told apart.
    (info,) = site.play(task("pg_backup_info", status=True))
    assert [backup["major_version"] for backup in info["backups"]] == [OLD, OLD, NEW]
    first, second = info["incarnations"]
    assert (first["major_version"], second["major_version"], second["is_present"]) == (OLD, NEW, True)
    ids = [backup["id"] for backup in info["backups"]]
    assert (first["backups"], second["backups"]) == (ids[:2], ids[2:])
    assert second["incarnation"] == claimed["incarnation"] and first["earliest"] < second["earliest"]
    assert not [finding for finding in info["status"]["findings"] if finding["level"] == 2]
    shown = site.lifeboat("info").stdout
    assert f"PostgreSQL {OLD}" in shown and f"PostgreSQL {NEW}" in shown

    # To a point in either life, each with its own programs.
    after.sql("INSERT INTO lives VALUES (3)")
    ((new_moment,),) = after.sql("SELECT clock_timestamp()")
    after.sql("INSERT INTO lives VALUES (4)")
    site.archive_everything()
    assert restored(site, upgrade.place(upgrade.new), target_time=new_moment.isoformat()) == [1, 2, 3]
    assert restored(site, upgrade.place(upgrade.old), target_time=old_moment.isoformat()) == [1]
    nowhere = upgrade.place(upgrade.new).data_directory
    site.refused(
        "target_beyond_archive",
        "pg_restore",
        destination=nowhere,
        target_time=first_moment.isoformat(),
        bin_dir=upgrade.old.bin_dir,
    )
    if OLD != NEW and not Path(f"/usr/lib/postgresql/{OLD}/bin/pg_ctl").exists():
        said = site.refused(
            "postgres_program_missing", "pg_restore", destination=nowhere, target_time=old_moment.isoformat()
        )
        assert f"PostgreSQL {NEW}" in said["happened"] and f"PostgreSQL {OLD}" in said["remedy"]
    assert not nowhere.exists()

    # Retention counts across both, class by class. The old life goes with its last backup; the new one loses nothing.
    both = site.module("pg_backup_expire", keep_last=[1], grace_hours=0)
    assert [each["id"] for each in both["kept"]] == ids[1:]  # the one from before the upgrade is of another class
    assert not site.module("pg_backup_info")["windows"][0]["missing_segments"]
    site.play(*[task("pg_backup_expire", keep_last=[1, "pre_migration=0"], grace_hours=0)] * 3)
    gone = f"/wal/{first['incarnation']}/"
    assert not [name for name in objects(folder / backups) if gone in name and not name.endswith("history")]
    (left,) = site.module("pg_backup_info")["windows"]
    assert ([left["backup_id"]], left["missing_segments"]) == (second["backups"], [])
    site.module("backup_verify", level="content")


def test_a_receiver_refuses_the_upgraded_server_and_goes_on_once_it_is_claimed(
    upgrade: Upgrade, ansible: Ansible, new_folder: Callable[[], Path]
) -> None:
    """With nothing but an address: the claim is made by protocol. Files are linked: there is no other way back."""
    before = upgrade.start_old()
    site, spool = Site(ansible, before, new_folder()), new_folder() / "spool"
    agent = site.agent_task
    (options,) = (value for key, value in agent.items() if key.endswith("lifeboat_agent"))
    options["clusters"] = [
        {
            "name": "main",
            "repository": "local",
            "method": "stream",
            "wal_method": "stream",
            "login_host": LOCAL_ADDRESS,
            "login_port": before.port,
            "login_user": PASSWORD_ROLE,
            "bin_dir": upgrade.new.bin_dir,  # newer clients receive from older servers
            "spool": spool,
        }
    ]
    site.play(
        agent,
        task("pg_backup_repository", create_key=True),
        task("pitr_configure", login_password=PASSWORD),
    )
    with Receiver(site, spool, PGPASSWORD=PASSWORD) as receiver:
        receiver.waits_until_says("receiving WAL")
        (made,) = site.play(task("pg_backup", login_password=PASSWORD, archive_wait=60))
        before.sql("CREATE TABLE lives AS SELECT generate_series(1, 2) AS n")
        after = upgrade.run(before, "--link")
        receiver.waits_until_says("server_not_reachable")
        after.start()
        assert receiver.process.wait(60) == 1
        assert "stanza_of_another_cluster" in receiver.text() and "claim: incarnation" in receiver.text()

        for check in (True, False):
            site.refused("stanza_of_another_cluster", "pitr_configure", login_password=PASSWORD, check=check)
        untouched = set(objects(site.repository))
        claim = {"claim": "incarnation", "login_password": PASSWORD}
        (predicted,) = site.play(task("pitr_configure", check=True, **claim))
        assert predicted["registered"] and predicted["changed"] and set(objects(site.repository)) == untouched
        claimed, again = site.play(task("pitr_configure", **claim), task("pitr_configure", **claim), fails=True)
        assert claimed["registered"] and claimed["slot"] == "lifeboat_main"
        assert again["error_code"] == "receiver_not_connected"  # and nothing else is left to be done

        receiver.start()
        receiver.waits_until_says("beginning a new life")
        (second,) = site.play(task("pg_backup", login_password=PASSWORD, archive_wait=60))
        segment = finish_segment(after)
        own = f"/wal/{claimed['incarnation']}/"
        wait_until(
            lambda: any(own in name and Path(name).name.startswith(segment) for name in objects(site.repository)),
            "the new life's WAL came",
        )
        assert second["backup"]["incarnation"] == claimed["incarnation"] != made["backup"]["incarnation"]
        assert not site.module("pitr_configure", **claim)["changed"]
        assert receiver.stop() == 0
        assert list((spool / "aside").rglob("*")) and "Traceback" not in receiver.text()
    # What the old server wrote until it was stopped is in its own life, the unfinished segment included.
    assert restored(site, upgrade.place(upgrade.old), backup=made["backup"]["id"]) == [1, 2]
    assert restored(site, upgrade.place(upgrade.new)) == [1, 2]
