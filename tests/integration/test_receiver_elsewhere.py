# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A receiver on a host that has nothing of its server but an address, and a bucket in the place of a directory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from harness import PASSWORD as SUPERUSERS_PASSWORD
from harness import PASSWORD_ROLE, Cluster, server_user, wait_until
from harness.cluster import LOCAL_ADDRESS
from harness.playbooks import Ansible
from harness.s3 import Place, S3Server
from receiving import Receiver, finish_segment, wait_for_shipped, wal_files
from support import Site, task
from write_load import WriteLoad

ROLE, PASSWORD = "receiver", "only: to 'receive'"


def test_a_server_in_a_container_is_received_from_by_tcp_into_a_bucket_and_its_host_is_lost(
    cluster: Cluster,
    ansible: Ansible,
    new_folder: Callable[[], Path],
    new_place: Callable[[], Cluster],
    s3: S3Server,
    s3_place: Place,
) -> None:
    site, spool = Site(ansible, cluster, new_folder()), new_folder() / "spool"
    credentials = s3.owner.write(site.folder / "s3.credentials")
    if os.geteuid() == 0:
        os.chown(credentials, server_user().pw_uid, server_user().pw_gid)
    agent = site.agent_task
    (options,) = (value for key, value in agent.items() if key.endswith("lifeboat_agent"))
    options["repositories"] = [
        {
            "name": "bucket",
            "url": s3_place.url,
            "key_file": site.key_file,
            "s3_endpoint": s3.endpoint,
            "s3_credentials_file": credentials,
        }
    ]
    options["clusters"] = [
        {
            "name": "main",
            "repository": "bucket",
            "method": "stream",
            "wal_method": "stream",
            "login_host": LOCAL_ADDRESS,
            "login_port": cluster.port,
            "login_user": ROLE,
            "bin_dir": cluster.postgres.bin_dir,
            "spool": spool,
        }
    ]
    cluster.sql(f"CREATE ROLE {ROLE} LOGIN REPLICATION PASSWORD $${PASSWORD}$$")
    site.play(
        agent,
        task("pg_backup_repository", create_key=True),
        task("pitr_configure", login_user=PASSWORD_ROLE, login_password=SUPERUSERS_PASSWORD),
    )

    def names() -> list[str]:
        return s3.names(s3_place)

    with Receiver(site, spool, PGPASSWORD=PASSWORD) as receiver:
        receiver.waits_until_says("receiving WAL")
        wait_until(lambda: any("/partials/" in name for name in names()), "the first partial was there")
        site.module("pg_backup", login_password=PASSWORD)
        cluster.sql("CREATE TABLE acknowledged (n int)")
        load = WriteLoad(cluster)
        load.__enter__()
        try:
            for n in range(1, 51):
                cluster.sql("INSERT INTO acknowledged VALUES (%(n)s)", n=n)
            newest = finish_segment(cluster)
            for n in range(51, 101):
                cluster.sql("INSERT INTO acknowledged VALUES (%(n)s)", n=n)
            wait_for_shipped(cluster, names)
            cluster.sql("INSERT INTO acknowledged VALUES (101)")
            receiver.kill()  # the host is lost, with server and spool
            cluster.kill()
            spool.rename(spool.with_name("lost"))
        finally:
            with contextlib.suppress(AssertionError):  # that it has ended by itself, with its server
                load.__exit__(None, None, None)
    assert newest in wal_files(names())
    assert PASSWORD not in receiver.text()
    place = new_place()
    site.module("pg_restore", destination=place.data_directory, port=place.port, socket_directory=place.socket_dir)
    there = [n for (n,) in place.sql("SELECT n FROM acknowledged ORDER BY n")]
    assert there[:100] == list(range(1, 101))
