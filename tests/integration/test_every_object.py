# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One flipped bit in any object: noticed, the object named, and the backups that need it with it (I3).

test_invariants_authenticity.py looks at each part of an object; here are all kinds of objects of a repository that has
generations, incremental backups, a dead backup and its journal, at their first, last and random bytes.
"""

from __future__ import annotations

import contextlib
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import config
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.verify import content as verify_content
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.wal import fetch
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import Event
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.access import stanza_of
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.intents import Intents
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.pack_lists import named_by_manifest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Stanza
from harness import Postgres, run
from harness.playbooks import Ansible
from support import STANZA, Site, objects, task
from test_interrupted_backup import dying_backup

SEED, RANDOM_POSITIONS = 20261128, 3


class Silence:
    """A progress sink."""

    def emit(self, event: Event) -> None:
        """Nobody listens."""


class Damaged:
    """A copy of a repository in which one bit at a time is another."""

    def __init__(self, site: Site, root: Path) -> None:
        self.root = root
        run(["cp", "-a", site.repository, root])
        values = config.cluster_settings(config.read(site.config_file), site.config_file, STANZA)
        _ignored, self.repository = config.specs(STANZA, {**values, "repository": str(root)})
        self.kinds: dict[str, list[str]] = defaultdict(list)
        for name in objects(root):
            self.kinds[kind_of(name)].append(name)
        stanza = self.stanza()
        self.backups = stanza.backup_ids()
        self.needed = {each: named_by_manifest(stanza, stanza.header(each)) for each in self.backups}

    def stanza(self) -> Stanza:
        """Opened anew."""
        return stanza_of(self.repository, STANZA)

    @contextlib.contextmanager
    def flipped(self, name: str, position: int) -> Iterator[None]:
        """For a while."""
        path = self.root / name
        content = path.read_bytes()
        path.write_bytes(bytes([*content[:position], content[position] ^ 1 << position % 8, *content[position + 1 :]]))
        try:
            yield
        finally:
            path.write_bytes(content)

    def positions(self, name: str) -> list[int]:
        """First, middle and last byte, and some others."""
        size, chance = (self.root / name).stat().st_size, random.Random(f"{SEED} {kind_of(name)}")
        return [0, size // 2, size - 1, *(chance.randrange(size) for _number in range(RANDOM_POSITIONS))]

    def verify(self, backup_id: str) -> str:
        """What proving a backup by reading complains of."""
        try:
            stanza = self.stanza()
            checks = verify_content.verify(stanza, stanza.header(backup_id), 2, Silence())
        except LifeboatError as error:
            return error.message
        return "; ".join(check.evidence for check in checks if not check.ok)

    def fetch(self, name: str) -> str:
        """What fetching a WAL file complains of."""
        destination = self.root.with_name("fetched")
        file_name = Path(name).name.rpartition("-")[0]
        try:
            fetch.fetch(fetch.FetchRequest(self.repository, STANZA, file_name, destination))
        except LifeboatError as error:
            assert not destination.exists()
            return error.message
        destination.unlink()
        return ""


def kind_of(name: str) -> str:
    """What sort of object this is."""
    parts = name.split("/")
    if parts[0] != "stanzas":
        return parts[0]
    return {"manifest": "manifest", "pack-list": "list of packs", "intent": "intent"}.get(parts[-1], "") or (
        "journal" if "journal" in parts else parts[2]
    )


@pytest.fixture(scope="module")
def own_site(postgres: Postgres, ansible: Ansible, new_folder: Callable[[], Path]) -> Iterator[Site]:
    with postgres.clone("objects") as cluster:
        yield Site(ansible, cluster, new_folder())


@pytest.fixture(scope="module")
def damaged(own_site: Site, new_folder: Callable[[], Path]) -> Damaged:
    site = own_site
    site.play(
        site.agent_task,
        task("pg_backup_repository", create_key=True),
        task("pitr_configure", restart=True, archive_timeout=0),
        task("pg_backup", type="full"),
        task("pg_backup", type="incremental"),
        task("pg_backup", type="full"),
    )
    site.cluster.sql("UPDATE pgbench_accounts SET abalance = 1 WHERE aid % 1000 = 0; CHECKPOINT")
    site.module("pg_backup", type="incremental")
    site.archive_everything()
    dying_backup(site, "publishing")
    return Damaged(site, new_folder() / "copy")


def test_every_kind_is_there(damaged: Damaged) -> None:
    assert set(damaged.kinds) == {
        *("lifeboat-repository.json", "keys", "incarnations", "manifest", "list of packs", "generations", "wal"),
        *("intent", "journal"),
    }
    assert len(damaged.backups) == 4


@pytest.mark.parametrize("kind", ["lifeboat-repository.json", "keys", "incarnations"])
def test_what_all_backups_need(damaged: Damaged, kind: str) -> None:
    (name,) = damaged.kinds[kind]
    for position in damaged.positions(name):
        with damaged.flipped(name, position):
            for backup_id in damaged.backups[::3]:
                assert name in damaged.verify(backup_id), position


@pytest.mark.parametrize("kind", ["manifest", "list of packs"])
def test_what_one_backup_needs(damaged: Damaged, kind: str) -> None:
    first, *others = damaged.backups
    (name,) = (each for each in damaged.kinds[kind] if first in each)
    for position in damaged.positions(name):
        with damaged.flipped(name, position):
            assert name in damaged.verify(first), position
    with damaged.flipped(name, damaged.positions(name)[-1]):
        assert [damaged.verify(other) for other in others] == [""] * 3


def test_what_a_generation_needs(damaged: Damaged) -> None:
    """A pack: those backups name it that need it, and each says which the others are."""
    needed = {
        name: [each for each in damaged.backups if Path(name).name in damaged.needed[each]]
        for name in damaged.kinds["generations"]
    }
    shared = [name for name, needing in needed.items() if len(needing) > 1]
    alone = [name for name, needing in needed.items() if len(needing) == 1]
    assert len(shared) >= 2 and len(alone) >= 2  # and there are packs that only the dead backup needed
    for name in [*shared[:3], *alone[:2]]:
        needing = needed[name]
        for position in damaged.positions(name):
            with damaged.flipped(name, position):
                complaints = {backup_id: damaged.verify(backup_id) for backup_id in needing}
            told = [backup_id for backup_id, complaint in complaints.items() if name in complaint]
            # An incremental backup may not need that very frame of the pack.
            assert told and all(not complaint or name in complaint for complaint in complaints.values()), position
            for backup_id in told:
                for other in needing:
                    assert other == backup_id or other in complaints[backup_id]


def test_archived_wal(damaged: Damaged) -> None:
    for name in (damaged.kinds["wal"][0], damaged.kinds["wal"][-1]):
        for position in damaged.positions(name):
            with damaged.flipped(name, position):
                assert name in damaged.fetch(name), position
    needed = damaged.kinds["wal"]
    with contextlib.ExitStack() as stack:
        for name in needed:
            stack.enter_context(damaged.flipped(name, 60))
        complaints = {backup_id: damaged.verify(backup_id) for backup_id in damaged.backups}
    assert all(any(name in complaint for name in needed) for complaint in complaints.values()), complaints


@pytest.mark.parametrize("kind", ["intent", "journal"])
def test_what_the_next_backup_would_go_on_from(damaged: Damaged, kind: str) -> None:
    """A bad intent is an error that names it; a bad journal, at the latest, when it is read."""
    name = damaged.kinds[kind][0]
    for position in damaged.positions(name):
        with damaged.flipped(name, position), pytest.raises(LifeboatError) as failure:
            intents = Intents(damaged.stanza())
            for intent in intents.all():
                list(intents.journaled(intent))
        assert name in failure.value.message, position
        assert damaged.verify(damaged.backups[-1]) == ""
