# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster and a bucket: the play of docs/guides/object-storage.md works as it stands there, as does the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from harness import CHECKOUT, PROGRAMS, Cluster, Postgres, server_folder, server_user
from harness.fault_proxy import Answer, FaultProxy
from harness.playbooks import HOST, Ansible, PlaybookRun
from harness.s3 import Place, S3Server
from support import Site, task

GUIDE = CHECKOUT / "docs/guides/object-storage.md"
ORDERS = {"name": "orders", "table": "orders", "database": "app", "equals": "5000"}


@dataclass(frozen=True)
class BucketSite(Site):
    """A cluster that the guide's play has set up."""

    server: S3Server
    bucket: Place

    @property
    def credentials_file(self) -> Path:
        """The bucket's keys."""
        return self.folder / "etc/s3.credentials"

    def guide_play(self) -> PlaybookRun:
        """The guide's play, with the names of this machine in the place of the example's."""
        names = {
            "/var/lib/postgresql/17/main": self.cluster.data_directory,
            "/etc/ssl/certs/acme-ca.pem": self.server.ca_file,
            "https://s3.example.com": self.server.tls_endpoint,
            "s3://acme-backups/postgresql": self.bucket.url,
            "/etc/lifeboat": self.folder / "etc",
            "hosts: databases": f"hosts: {HOST}",
            "owner: postgres": f"owner: {server_user().pw_name}",
            "group: postgres": f"group: '{server_user().pw_gid}'",
        }
        text = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), re.DOTALL)[0]
        for example, real in names.items():
            assert example in text
            text = text.replace(example, str(real))
        (play,) = yaml.safe_load(text)
        play.update(become=False, gather_facts=False)
        describe = play["tasks"][1]["lifeboat.postgresql.lifeboat_agent"]
        describe["clusters"][0]["bin_dir"] = self.cluster.postgres.bin_dir  # which is in none of the usual places
        play["module_defaults"] = {
            "group/lifeboat.postgresql.lifeboat": {
                "config_file": self.config_file,
                "agent_command": self.command,
            },
            "lifeboat.postgresql.lifeboat_agent": {"prefix": self.folder / "usr", "interpreter": PROGRAMS / "python"},
        }
        owner = self.server.owner
        keys = {"backup_access_key": owner.access_key, "backup_secret_key": owner.secret_key}
        return self.ansible.playbook(json.dumps([play], indent=1, default=str), **keys)


@pytest.fixture(scope="module")
def bucket_site(
    postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path], s3: S3Server
) -> Iterator[BucketSite]:
    with postgres.clone("bucket") as cluster:
        site = BucketSite(ansible, cluster, new_folder(), s3, s3.new_place())
        server_folder(site.folder / "etc")
        site.guide_play()
        yield site


def test_the_guides_play_changes_nothing_when_it_is_run_again(bucket_site: BucketSite) -> None:
    assert bucket_site.guide_play().changed == []
    assert len(bucket_site.backup_ids()) == 1


def test_the_secret_key_is_in_one_file_only(bucket_site: BucketSite) -> None:
    secret = bucket_site.server.owner.secret_key
    auto = (bucket_site.cluster.data_directory / "postgresql.auto.conf").read_text()
    said = [bucket_site.guide_play().output, auto, bucket_site.config_file.read_text()]
    said += [str(bucket_site.module("pg_backup_info")), bucket_site.lifeboat("info").stdout]
    assert secret not in "".join(said)
    assert secret in bucket_site.credentials_file.read_text()


def test_what_is_in_the_bucket_is_below_the_prefix_and_sealed(bucket_site: BucketSite) -> None:
    client = bucket_site.server.client()
    names = bucket_site.server.names(bucket_site.bucket)
    assert "lifeboat-repository.json" in names
    for name in names:
        content = client.get_object(Bucket=bucket_site.bucket.bucket, Key=f"{bucket_site.bucket.prefix}/{name}")
        assert b"customer 1" not in content["Body"].read()


def test_a_backup_is_proven_by_reading_and_by_restoring(bucket_site: BucketSite) -> None:
    content, restored = bucket_site.play(
        task("backup_verify"),
        task("backup_verify", level="restore", assertions=[ORDERS]),
    )
    assert all(check["ok"] for check in content["checks"] + restored["checks"])


def test_a_point_in_time_comes_back(bucket_site: BucketSite, new_place: Callable[[], Cluster]) -> None:
    cluster, place = bucket_site.cluster, new_place()
    ((orders, moment),) = cluster.sql("SELECT count(*), clock_timestamp()::text FROM orders")
    cluster.sql("DELETE FROM orders")
    bucket_site.archive_everything()
    bucket_site.module(
        "pg_restore",
        destination=place.data_directory,
        port=place.port,
        socket_directory=place.socket_dir,
        target_time=moment.replace(" ", "T"),
    )
    assert place.sql("SELECT count(*) FROM orders") == [(orders,)]
    assert cluster.sql("SELECT count(*) FROM orders") == [(0,)]


def test_a_repository_is_reached_by_options_alone(bucket_site: BucketSite) -> None:
    server = bucket_site.server
    info = bucket_site.ansible.module(
        "pg_backup_info",
        stanza=f"{HOST}-main",
        repository=bucket_site.bucket.url,
        key_file=bucket_site.folder / "etc/offsite.key",
        data_directory=bucket_site.cluster.data_directory,
        s3_endpoint=server.endpoint,
        s3_credentials_file=bucket_site.credentials_file,
        s3_path_style=True,
    )
    assert [backup["id"] for backup in info["backups"]] == bucket_site.backup_ids()


def test_credentials_that_expire_during_a_backup_leave_nothing_half_visible(bucket_site: BucketSite) -> None:
    known, before = bucket_site.backup_ids(), set(bucket_site.server.names(bucket_site.bucket))
    with FaultProxy(bucket_site.server.endpoint) as proxy:
        proxy.plan(r"PUT .*/packs/", Answer(400, "ExpiredToken"))
        bucket_site.refused("storage_credentials_expired", "pg_backup", s3_endpoint=proxy.endpoint)
    assert bucket_site.backup_ids() == known
    assert not [name for name in set(bucket_site.server.names(bucket_site.bucket)) - before if "/backups/" in name]
    assert bucket_site.server.unfinished_uploads(bucket_site.bucket) == []
    bucket_site.module("pg_backup")
    assert len(bucket_site.backup_ids()) == len(known) + 1


def test_a_segment_that_the_bucket_refuses_is_archived_when_it_takes_it(bucket_site: BucketSite) -> None:
    """I4: not acknowledged before, not lost after."""
    bucket_site.cluster.sql("CHECKPOINT")  # what was begun after a switch is on disk, in place of what was there before
    ((current,),) = bucket_site.cluster.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    push = ("archive-push", bucket_site.cluster.data_directory / "pg_wal" / current)
    with FaultProxy(bucket_site.server.endpoint) as proxy:
        proxy.plan(r"PUT ", Answer(403, "AccessDenied"))
        bucket_site.command_refused("storage_not_permitted", *push, "--s3-endpoint", proxy.endpoint)
    assert not [name for name in bucket_site.server.names(bucket_site.bucket) if current in name]
    assert bucket_site.archive_everything() == current
    assert [name for name in bucket_site.server.names(bucket_site.bucket) if current in name]


def test_check_mode_predicts_a_repository_and_writes_nothing(bucket_site: BucketSite) -> None:
    empty = bucket_site.server.new_place()
    options = {"repository": empty.url, "create_key": True, "key_file": bucket_site.folder / "etc/new.key"}
    predicted = bucket_site.play(task("pg_backup_repository", check=True, **options))[0]
    assert (predicted["changed"], predicted["key_created"]) == (True, True)
    assert bucket_site.server.names(empty) == []
    made, again = bucket_site.play(task("pg_backup_repository", **options), task("pg_backup_repository", **options))
    assert (made["changed"], again["changed"]) == (True, False)


def test_a_bucket_that_does_not_exist_is_named(bucket_site: BucketSite) -> None:
    bucket_site.refused("storage_bucket_missing", "pg_backup_repository", repository="s3://no-such-bucket/prefix")


def test_what_is_not_kept_goes_from_the_bucket(bucket_site: BucketSite) -> None:
    """Runs last, because it leaves one backup."""
    for kind in ("full", "incremental"):
        bucket_site.module("pg_backup", type=kind, backup_class="scheduled")
    newest = bucket_site.backup_ids()[-1]
    policy = {"keep_last": [0, "scheduled=1"], "grace_hours": 0}
    predicted = bucket_site.play(task("pg_backup_expire", check=True, **policy))[0]
    done, again = bucket_site.play(task("pg_backup_expire", **policy), task("pg_backup_expire", **policy))
    assert (predicted["expired"], predicted["deleted"]) == (done["expired"], done["deleted"])
    assert (done["changed"], again["changed"]) == (True, False)
    assert bucket_site.backup_ids() == [newest]
    (generation,) = {name.split("/")[3] for name in bucket_site.server.names(bucket_site.bucket) if "/packs/" in name}
    kept = bucket_site.module("pg_backup_info")["backups"][0]
    assert (kept["generation"], kept["class"]) == (generation, "scheduled")
    assert all(check["ok"] for check in bucket_site.module("backup_verify")["checks"])
    assert bucket_site.server.unfinished_uploads(bucket_site.bucket) == []
