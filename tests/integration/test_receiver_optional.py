# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A streaming receiver with an optional repository, which is away for a while and then all that is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness import Cluster, wait_until
from receiving import Receiver, archived, finish_segment, partials, wait_for_shipped
from support import Site, objects, task


def test_an_optional_repository_that_was_away_has_everything_when_it_is_the_last_one_left(
    streaming: Site, new_folder: Callable[[], Path], new_place: Callable[[], Cluster]
) -> None:
    site, spool = streaming, new_folder() / "spool"
    cellar, away = site.folder / "cellar", site.folder / "away"
    agent = site.agent_task
    (options,) = (value for key, value in agent.items() if key.endswith("lifeboat_agent"))
    options["repositories"].append({"name": "cellar", "url": cellar, "key_file": site.folder / "keys/cellar.key"})
    (cluster,) = options["clusters"]
    del cluster["repository"]
    cluster.update(repositories=["local"], optional_repositories=["cellar"], wal_method="stream", spool=spool)
    site.play(agent, task("pg_backup_repository", repository="cellar", create_key=True))
    with Receiver(site, spool) as receiver:
        receiver.waits_until_says("receiving WAL")
        site.cluster.sql("CREATE TABLE acknowledged (n int)")
        wait_for_shipped(site.cluster, lambda: objects(cellar))
        site.module("pg_backup", repository="cellar")

        cellar.rename(away)
        names = []
        for n in range(3):
            site.cluster.sql("INSERT INTO acknowledged VALUES (%(n)s)", n=n)
            names.append(finish_segment(site.cluster))
        site.cluster.sql("INSERT INTO acknowledged VALUES (3)")
        wait_for_shipped(site.cluster, lambda: objects(site.repository))
        assert set(names) <= archived(site.repository)  # nobody waited
        receiver.waits_until_says("the optional repository cellar lags behind")
        receiver.waits_until_says("the optional repository cellar lacks what there is of the present segment")
        owed = spool / "pg_wal/lifeboat/owed/cellar"
        assert set(names) <= {path.name for path in owed.iterdir()}
        (info,) = site.play(task("pg_backup_info", status=True))
        assert any(
            repository["name"] == "cellar" and repository["error"] for repository in info["status"]["repositories"]
        )

        receiver.kill()  # what is owed is not forgotten
        receiver.start()
        wait_until(lambda: receiver.status()["state"] == "receiving", "it received again")
        site.cluster.sql("INSERT INTO acknowledged VALUES (4)")
        wait_for_shipped(site.cluster, lambda: objects(site.repository))
        away.rename(cellar)
        wait_until(lambda: set(names) <= archived(cellar), "it got the segments that it lacked")
        wait_for_shipped(site.cluster, lambda: objects(cellar))
        wait_until(lambda: not list(owed.iterdir()), "nothing was owed any more")
        assert len(partials(objects(cellar))) == 1  # those of finished segments are gone
        site.cluster.kill()  # and with its host all but the cellar
        receiver.kill()
    spool.rename(spool.with_name("lost"))
    site.repository.rename(site.folder / "lost")
    place = new_place()
    site.module(
        "pg_restore",
        repository="cellar",
        destination=place.data_directory,
        port=place.port,
        socket_directory=place.socket_dir,
    )
    assert place.sql("SELECT n FROM acknowledged ORDER BY n") == [(n,) for n in range(5)]
