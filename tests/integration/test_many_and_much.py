# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many small files and a large one: everything comes back, and memory stays under 256 MiB at every step (I9).

`make torture` does the same with 100,000 relations (LIFEBOAT_RELATIONS); what was measured is printed and kept in
build/memory.json.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness import BUILD, CHECKOUT, Cluster, Postgres, server_user
from harness.machine import CLEAN_ENVIRONMENT
from harness.playbooks import Ansible
from judging import judge
from support import STANZA, Site, summarizing, task

sys.path.insert(0, str(CHECKOUT / "tools"))
from bench.measuring import Usage, measure

MEBIBYTE = 1 << 20
MOST_BYTES = 256 * MEBIBYTE
RELATIONS = int(os.environ.get("LIFEBOAT_RELATIONS", "20000"))
BY_PROTOCOL = "protocol"
ROWS = 2_000_000  # about 250 MiB with their index

pytestmark = pytest.mark.timeout(1800)

MAKE_RELATIONS = """
DO $$ BEGIN
    FOR i IN 1..{count} LOOP
        EXECUTE format('CREATE TABLE many.t%s (n int)', i);
        IF i % 2 = 0 THEN EXECUTE format('INSERT INTO many.t%s VALUES (%s)', i, i); END IF;
        IF i % 500 = 0 THEN COMMIT; END IF;
    END LOOP;
END $$
"""
# As many rows as there are even numbers, and their sum.
CHECK_RELATIONS = """
SELECT count(*), sum(n) FROM (
    SELECT (xpath('//n/text()', query_to_xml('SELECT n FROM many.' || relname, false, true, '')))[1]::text::int AS n
    FROM pg_class WHERE relnamespace = 'many'::regnamespace AND relkind = 'r' AND oid::bigint % 20 = 0
) AS found
"""


@dataclass(frozen=True)
class Large:
    """The site, and how its commands are measured."""

    site: Site
    measured: dict[str, Usage]

    def measure(self, what: str, *arguments: str | Path, cluster: str = STANZA) -> Usage:
        """Run the on-host command; what it took."""
        command, *rest = arguments
        site = self.site
        words = [site.command, command, "--config", site.config_file, "--cluster", cluster, *rest]
        log = site.folder / f"{what}.log"
        owner = server_user()
        self.measured[what] = measure(words, owner, CLEAN_ENVIRONMENT, log)
        return self.measured[what]


@pytest.fixture(scope="module")
def large(postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path]) -> Iterator[Large]:
    cluster = postgres.clone("large")
    cluster.start("-F -c wal_level=minimal -c max_wal_senders=0 -c autovacuum=off -c max_wal_size=4GB")
    try:
        cluster.sql("CREATE SCHEMA many")
        cluster.sql(MAKE_RELATIONS.format(count=RELATIONS))
        cluster.sql(
            "CREATE TABLE big AS SELECT g AS n, 0 AS changes, md5(g::text) || md5((g * 7)::text) AS filler"
            f" FROM generate_series(1, {ROWS}) AS g"
        )
        cluster.sql("CREATE INDEX ON big (n)")
        cluster.sql("CREATE DATABASE nothing TEMPLATE template0", db="postgres")
        cluster.stop()
        cluster.start()
        site = Site(ansible, cluster, new_folder())
        agent = site.agent_task
        (options,) = (value for key, value in agent.items() if key.endswith("lifeboat_agent"))
        same = {"repository": "local", "stanza": STANZA, "method": "stream"}
        where = {"login_unix_socket": cluster.socket_dir, "login_port": cluster.port}
        options["clusters"].append({"name": BY_PROTOCOL, **same, **where})
        site.play(
            agent,
            task("pg_backup_repository", create_key=True),
            task("pitr_configure", restart=True, archive_timeout=0, **summarizing(postgres.major)),
        )
        made = Large(site, {})
        yield made
        report = {
            what: {"seconds": round(used.seconds, 1), "peak_mib": used.peak_bytes >> 20}
            for what, used in made.measured.items()
        }
        (BUILD / "memory.json").write_text(json.dumps({"relations": RELATIONS, "measured": report}, indent=1) + "\n")
        sys.stdout.write(f"{RELATIONS} relations: {report}\n")
    finally:
        cluster.remove()


def test_memory_stays_bounded_and_everything_comes_back(large: Large, new_place: Callable[[], Cluster]) -> None:
    site, cluster, place = large.site, large.site.cluster, new_place()
    where = (
        *("--destination", place.data_directory),
        *("--port", str(place.port), "--socket-directory", place.socket_dir),
    )
    files = sum(path.is_file() for path in cluster.data_directory.rglob("base/*/*"))
    assert files > RELATIONS

    large.measure("full", "backup", "--type", "full")
    cluster.sql("UPDATE big SET changes = 1 WHERE n % 5000 = 0")
    cluster.sql("CHECKPOINT; SELECT pg_sleep(1.1)")
    large.measure("incremental", "backup", "--type", "incremental")
    large.measure("unchanged", "backup", "--type", "incremental")
    large.measure("by protocol", "backup", "--type", "incremental", cluster=BY_PROTOCOL)
    large.measure("verify", "verify", "--level", "content")
    site.archive_everything()
    large.measure("restore", "restore", "--no-start", *where)
    large.measure("second full", "backup", "--type", "full")
    too_much = {what: used.peak_bytes >> 20 for what, used in large.measured.items() if used.peak_bytes > MOST_BYTES}
    assert too_much == {}

    query = CHECK_RELATIONS
    judge(place)
    place.start()
    assert place.sql("SELECT count(*), sum(changes) FROM big") == cluster.sql("SELECT count(*), sum(changes) FROM big")
    assert place.sql(query) == cluster.sql(query)
    assert place.sql("SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace >= 16384", db="nothing") == [
        (0,)
    ]
    ((delta_path,),) = place.sql("SELECT pg_relation_filepath('big')")
    place.kill()
    (place.data_directory / "postmaster.pid").unlink()
    with (place.data_directory / delta_path).open("r+b") as stream:
        stream.seek(8192 * 100)
        stream.write(b"\xff" * 8192 * 50)
    used = large.measure("delta", "restore", "--no-start", "--delta", *where)
    assert used.peak_bytes <= MOST_BYTES
    place.start()
    assert place.sql("SELECT count(*), sum(changes) FROM big") == cluster.sql("SELECT count(*), sum(changes) FROM big")
