# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A random loop over everything that can happen to backups (tests/torture); `make torture` runs it for longer.

SEED=N repeats what a failure has shown, MINUTES=N makes it longer.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness import Postgres, server_folder
from harness.playbooks import Ansible
from support import STANZA, Site, summarizing, task
from torture.loop import judge_in_the_end, torment
from torture.model import World

SEED = int(os.environ.get("SEED") or 1)
MINUTES = float(os.environ.get("MINUTES") or 0.75)


@pytest.fixture
def world(postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path]) -> Iterator[World]:
    """A cluster that archives, and its standby, both described to the on-host command."""
    with ExitStack() as stack:
        cluster = stack.enter_context(postgres.clone("tortured"))
        site = Site(ansible, cluster, new_folder())
        folder = new_folder()
        standby = postgres.adopt(folder / "data", cluster.port + 1, server_folder(folder / "s", 0o700))
        site.play(site.agent_task, task("pg_backup_repository", create_key=True))
        site.play(task("pitr_configure", restart=True, archive_timeout=0, **summarizing(postgres.major)))
        cluster.run("pg_basebackup", "--pgdata", standby.data_directory, "--write-recovery-conf", "--checkpoint=fast")
        standby.write_own_settings()
        stack.enter_context(standby)
        with site.config_file.open("a") as config:
            config.write(
                f"\n[cluster standby]\nrepository = local\nstanza = {STANZA}\n"
                f"data_directory = {standby.data_directory}\nbin_dir = {postgres.bin_dir}\n"
            )
        made = World(site, standby, random.Random(SEED), new_folder())
        yield made
        for place in made.restored:
            place.remove()


@pytest.mark.timeout(MINUTES * 60 * 3 + 600)
def test_whatever_happens(world: World) -> None:
    assert torment(world, SEED, MINUTES * 60) >= 5
    judge_in_the_end(world)
