# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket in bad weather: whole backups, archives and restores through a network and a server that fail all the time.

What single faults do to a single call is in test_store_s3.py.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness import Cluster, Postgres, wait_until
from harness.fault_proxy import Answer, Delay, Exchange, Fault, FaultProxy, Truncate, lose_answer, reset
from harness.playbooks import Ansible
from harness.s3 import Place, S3Server
from judging import judge
from support import Site, task

SEED, ONE_IN = 20261128, 8
EXPIRED = Answer(403, "ExpiredToken")


@dataclass
class Storm:
    """Lets one request in some suffer something; never the same one, however often it comes again, three times."""

    chance: random.Random = field(default_factory=lambda: random.Random(SEED))
    suffered: dict[str, int] = field(default_factory=dict)

    FAULTS = (
        Answer(500, "InternalError"),
        Answer(503, "SlowDown"),
        reset,
        lose_answer,
        Delay(0.5),
        Truncate(100),
    )

    def __call__(self, exchange: Exchange) -> None:
        """One request."""
        line = re.sub(r"(uploadId|partNumber)=[^&]*", r"\1", exchange.line)
        if self.chance.randrange(ONE_IN) or self.suffered.get(line, 0) >= 2:
            exchange.handler.answer(exchange.forward())
            return
        self.suffered[line] = self.suffered.get(line, 0) + 1
        self.chance.choice(self.FAULTS)(exchange)


class Expiry:
    """Credentials that are good for so many requests more."""

    def __init__(self, good_for: int) -> None:
        self._left = good_for

    def __call__(self, exchange: Exchange) -> None:
        """One request."""
        self._left -= 1
        if self._left >= 0:
            exchange.handler.answer(exchange.forward())
        else:
            EXPIRED(exchange)


class Weather:
    """What every request goes through: fine, unless a test says otherwise."""

    def __init__(self) -> None:
        self.now: Fault = self.fine

    @staticmethod
    def fine(exchange: Exchange) -> None:
        """As it comes."""
        exchange.handler.answer(exchange.forward())

    def __call__(self, exchange: Exchange) -> None:
        """One request."""
        self.now(exchange)


@dataclass(frozen=True)
class Outside(Site):
    """A site whose repository is a bucket behind the weather."""

    server: S3Server
    bucket: Place
    weather: Weather


@pytest.fixture(scope="module")
def outside(postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path], s3: S3Server) -> Iterator[Outside]:
    weather = Weather()
    with FaultProxy(s3.endpoint) as proxy, postgres.clone("weather") as cluster:
        proxy.plan(r".*", weather)
        site = Outside(ansible, cluster, new_folder(), s3, s3.new_place(), weather)
        site.play(site.agent_task)
        credentials = s3.owner.write(site.folder / "etc/s3.credentials")
        settings = (
            f"url = {site.bucket.url}\ns3_endpoint = {proxy.endpoint}\ns3_path_style = yes\n"
            f"s3_credentials_file = {credentials}\n"
        )
        text = site.config_file.read_text()
        assert f"url = {site.repository}\n" in text
        site.config_file.write_text(text.replace(f"url = {site.repository}\n", settings))
        site.play(
            task("pg_backup_repository", create_key=True),
            task("pitr_configure", restart=True, archive_timeout=0),
            task("pg_backup", type="full"),
        )
        yield site


@pytest.fixture(autouse=True)
def fine_weather_afterwards(outside: Outside) -> Iterator[None]:
    yield
    outside.weather.now = outside.weather.fine


def restore_options(place: Cluster) -> dict[str, object]:
    return {
        "destination": place.data_directory,
        "port": place.port,
        "socket_directory": place.socket_dir,
        "start": False,
    }


def test_a_storm(outside: Outside, new_place: Callable[[], Cluster]) -> None:
    """Everything is done all the same, and nothing is wrong with it."""
    site, place, storm = outside, new_place(), Storm()
    site.weather.now = storm
    site.cluster.sql("UPDATE pgbench_accounts SET abalance = 1 WHERE aid % 100 = 0")
    full, incremental, *_rest = site.play(
        task("pg_backup", type="full"),
        task("pg_backup", type="incremental"),
        task("backup_verify"),
        task("pg_restore", **restore_options(place)),
    )
    assert len(storm.suffered) > 5
    site.weather.now = site.weather.fine
    assert site.backup_ids()[-2:] == [full["backup"]["id"], incremental["backup"]["id"]]
    assert site.server.unfinished_uploads(site.bucket) == []
    judge(place)


def test_credentials_that_expire_in_the_middle_of_a_backup(outside: Outside) -> None:
    site, known = outside, outside.backup_ids()
    before = set(site.server.names(site.bucket))
    for good_for in (0, 12, 20):
        site.weather.now = Expiry(good_for)
        site.refused("storage_credentials_expired", "pg_backup", type="full")
        site.weather.now = site.weather.fine
        assert site.backup_ids() == known
    made = site.module("pg_backup", type="full")["backup"]["id"]
    assert site.backup_ids() == [*known, made]
    # Packs of one that had come near its manifest are the collector's: a bucket may show an object late.
    left = [name for name in site.server.names(site.bucket) if name not in before and name.endswith("/intent")]
    assert left == []
    assert site.server.unfinished_uploads(site.bucket) == []
    site.module("backup_verify")


def test_credentials_that_expire_in_the_middle_of_a_restore(outside: Outside, new_place: Callable[[], Cluster]) -> None:
    """Nothing can be started, and the same restore goes on with new ones."""
    site, place = outside, new_place()
    site.weather.now = Expiry(20)
    site.refused("storage_credentials_expired", "pg_restore", **restore_options(place))
    start = place.postgres.run("pg_ctl", "start", "--wait", "--pgdata", place.data_directory, check=False)
    assert start.returncode != 0
    site.weather.now = site.weather.fine
    site.module("pg_restore", **restore_options(place))
    judge(place)


def test_credentials_that_expire_while_archiving(outside: Outside) -> None:
    """Nothing is acknowledged; with new credentials everything arrives."""
    site = outside
    failures = "SELECT failed_count FROM pg_stat_archiver"
    before = site.cluster.sql(failures)
    site.weather.now = Expiry(0)
    site.cluster.sql("SELECT pg_create_restore_point('not archived')")
    ((segment,),) = site.cluster.sql("SELECT pg_walfile_name(pg_switch_wal())")
    wait_until(lambda: site.cluster.sql(failures) > before, "archiving had failed")
    assert not [name for name in site.server.names(site.bucket) if segment in name]
    site.weather.now = site.weather.fine
    query = "SELECT last_archived_wal >= %(segment)s FROM pg_stat_archiver"
    wait_until(lambda: site.cluster.sql(query, segment=segment) == [(True,)], f"{segment} was archived", timeout=120)
    assert [name for name in site.server.names(site.bucket) if segment in name]
