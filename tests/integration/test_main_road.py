# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main road, on every version and under write load: full, incremental, restore; PostgreSQL's own tools judge.

From a primary, and from its standby. What comes back is compared row by row with what the primary had in the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Cluster, server_folder
from main_road import judge_restored, make_both
from support import Site
from write_load import BALANCED

pytestmark = pytest.mark.every_version


def test_from_a_primary(site: Site, new_place: Callable[[], Cluster]) -> None:
    full, incremental = make_both(site)
    judge_restored(site, incremental, new_place())
    balanced = {"name": "balanced", "database": "app", "query": BALANCED, "equals": "True"}
    proof = site.module("backup_verify", level="restore", backup=full["id"], assertions=[balanced])
    assert {"pg_verifybackup", "recovery", "balanced", "amcheck", "page checksums"} <= {
        check["name"] for check in proof["checks"] if check["ok"]
    }


@pytest.fixture
def standby(site: Site, new_folder: Callable[[], Path]) -> Iterator[Cluster]:
    """A streaming standby of the site's cluster."""
    folder = new_folder()
    replica = site.cluster.postgres.adopt(folder / "data", site.cluster.port + 1, server_folder(folder / "s", 0o700))
    site.cluster.run("pg_basebackup", "--pgdata", replica.data_directory, "--write-recovery-conf", "--checkpoint=fast")
    replica.write_own_settings()
    with replica:
        yield replica


def test_from_a_standby(site: Site, standby: Cluster, new_place: Callable[[], Cluster]) -> None:
    _full, incremental = make_both(
        site,
        switching=True,
        data_directory=standby.data_directory,
        login_unix_socket=standby.socket_dir,
        login_port=standby.port,
    )
    judge_restored(site, incremental, new_place())
