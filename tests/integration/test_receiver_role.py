# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role archiving sets a receiver up, as a unit that systemd takes, and takes it away again with its slot."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from harness import Cluster, cannot_be_had, run, server_user, wait_until
from harness.playbooks import Ansible
from receiving import Receiver, archived, finish_segment
from support import Site
from test_roles import Host


def test_a_receiver_comes_with_the_configuration_and_goes_with_it(
    cluster: Cluster, ansible: Ansible, new_folder: Callable[[], Path]
) -> None:
    host = Host(ansible, cluster, new_folder())
    units, spool = new_folder(), host.folder / "spool"
    (described,) = host.variables["lifeboat_clusters"]
    how = {
        "lifeboat_clusters": [{**described, "wal_method": "stream", "spool": spool, "partial_interval": 0.4}],
        "archiving_receiver_user": server_user().pw_name,
        "archiving_receiver_unit_directory": units,
        "archiving_receiver_start": False,
        "archiving_first_backup": False,
        "archiving_restart": "when_needed",
    }
    host.play("configure", **how)
    assert cluster.sql("SELECT slot_name FROM pg_replication_slots") == [("lifeboat_main",)]
    unit = units / "lifeboat-receive-main.service"
    lines = unit.read_text().splitlines()
    assert f'ReadWritePaths="{spool}"' in lines
    assert "ProtectSystem=strict" in lines

    class AsInTheUnit(Receiver):
        """What ExecStart says."""

        def words(self) -> list[str]:
            (line,) = (each for each in lines if each.startswith("ExecStart="))
            return shlex.split(line.partition("=")[2])

    with AsInTheUnit(Site(ansible, cluster, host.folder), spool) as receiver:
        receiver.waits_until_says("receiving WAL")
        segment = finish_segment(cluster)
        wait_until(lambda: segment in archived(host.folder / "backups"), "the segment was there")
        assert host.play("configure", **how).changed == []
        assert receiver.stop() == 0
    host.play("configure", **how)  # that it does not run keeps the role from nothing: it would start it
    host.play("configure", **{**how, "archiving_state": "absent"})
    assert not unit.exists()
    assert cluster.sql("SELECT count(*) FROM pg_replication_slots") == [(0,)]
    assert spool.exists()

    unit.write_text("\n".join(lines) + "\n")
    if shutil.which("systemd-analyze") is None:
        cannot_be_had("systemd-analyze is not installed")
    assert run(["systemd-analyze", "verify", unit]).stderr == ""
