# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to a cluster while the ledger is kept: work, backups, switches, deaths, promotions, ways back."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import Cluster, server_folder, server_user, wait_until
from receiving import Receiver
from support import Site, objects, task
from test_wal_background import background_of

from .ledger import Ledger, Lsn, parse_lsn
from .ledger_writers import TABLE, Writers, settle, write

# How often each is drawn, compared with the others.
WEIGHTS = {
    "work": 5,
    "full": 1,
    "incremental": 3,
    "switch": 4,
    "point": 4,
    "crash": 2,
    "kill_the_pusher": 3,
    "kill_the_receiver": 2,
    "promote": 2,
    "expire": 1,
}


@dataclass(frozen=True)
class Backup:
    """A backup, as its target's rules need it."""

    id: str
    timeline: int
    start: Lsn
    stop: Lsn
    recoverable_from: str


@dataclass
class Scene:
    """A site whose every row the ledger has."""

    site: Site
    ledger: Ledger
    chance: random.Random
    backups: dict[str, Backup] = field(default_factory=dict)
    points: int = 0
    receivers: int = 0
    diary: list[str] = field(default_factory=list)

    @property
    def cluster(self) -> Cluster:
        return self.site.cluster

    def archived(self) -> set[str]:
        """The names of the segments in the repository."""
        return {name.rpartition("/")[2].rpartition("-")[0] for name in objects(self.site.repository) if "/wal/" in name}

    def come_to_rest(self) -> None:
        """Nobody writes, everything is archived and in the ledger."""
        self.site.archive_everything()
        self.ledger.read(self.cluster)

    def lifeboat(self, *arguments: str | Path) -> dict[str, Any]:
        """What a command says."""
        answer: dict[str, Any] = json.loads(self.site.lifeboat(*arguments, "--json").stdout)
        return answer

    def note_backup(self, made: dict[str, Any]) -> str:
        made = made["backup"]
        start, stop = parse_lsn(made["start_lsn"]), parse_lsn(made["stop_lsn"])
        backup = Backup(made["id"], made["timeline"], start, stop, made["recoverable_from"])
        self.backups[backup.id] = backup
        return backup.id


class Events:
    """On one scene. Each is done once, then they are drawn by their weights."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.chance = scene.chance

    @property
    def _cluster(self) -> Cluster:
        return self.scene.cluster

    def happen(self, name: str) -> None:
        """Let one happen, into the diary."""
        self.scene.diary.append(name)
        said = getattr(self, name)()
        self.scene.ledger.read(self._cluster)
        self.scene.diary[-1] += f": {said}"

    def work(self) -> str:
        """As fast as it goes; now and then what earlier deaths have left prepared is settled."""
        each = self.chance.randrange(10, 80)
        write(self._cluster, each)
        commit = self.chance.random() < 0.5
        left = settle(self._cluster, commit=commit) if self.chance.random() < 0.5 else 0
        return f"{each} transactions a session, {left} settled"

    def _backup(self, kind: str) -> str:
        if self.chance.random() < 0.3:
            return self.scene.note_backup(self.scene.lifeboat("backup", "--type", kind))
        with Writers(self._cluster) as writers:
            made = self.scene.note_backup(self.scene.lifeboat("backup", "--type", kind))
            writers.wait_for(20)
        return f"{made} while they write"

    def full(self) -> str:
        """A new generation."""
        return self._backup("full")

    def incremental(self) -> str:
        """Over whatever there was."""
        return self._backup("incremental")

    def expire(self) -> str:
        """Older backups go, and at once what only they needed. What is listed then can be recovered as before."""
        before = list(self.scene.backups)
        number = self.chance.randrange(1, max(2, len(before)))
        self.scene.lifeboat("expire", "--keep-last", str(number), "--grace-hours", "0")
        listed = [each["id"] for each in self.scene.lifeboat("info")["backups"]]
        assert listed == before[-number:], (listed, before)
        self.scene.backups = {each: self.scene.backups[each] for each in listed}
        return f"{len(before) - len(listed)} of {len(before)} backups"

    def switch(self) -> str:
        """Segments end while they write, and nobody waits for the archive."""
        times = self.chance.randrange(1, 4)
        with Writers(self._cluster) as writers:
            for _time in range(times):
                writers.wait_for(15)
                self._cluster.sql("SELECT pg_switch_wal()")
        return f"{times} times"

    def point(self) -> str:
        """Named, in the middle of work."""
        self.scene.points += 1
        name = f"point {self.scene.points}"
        with Writers(self._cluster) as writers:
            writers.wait_for(10)
            if self.chance.random() < 0.5:
                self._cluster.sql("SELECT pg_create_restore_point(%(name)s)", name=name)
            else:
                self.scene.lifeboat("restore-point", name)
            writers.wait_for(10)
        return name

    def crash(self) -> str:
        """In the middle of work, recovered by the server itself."""
        with Writers(self._cluster) as writers:
            writers.wait_for(self.chance.randrange(10, 60))
            self._cluster.kill()
        self._cluster.start()
        return ""

    def kill_the_pusher(self) -> str:
        """While it has something to do."""
        killed = 0
        with Writers(self._cluster) as writers:
            for _time in range(3):
                self._cluster.sql("SELECT pg_switch_wal()")
                writers.wait_for(10)
            for pid in background_of(self._cluster, "archive-pusher"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
            writers.wait_for(10)
        return f"{killed} killed"

    def kill_the_receiver(self) -> str:
        """One that receives beside the archiver, and ships what is finished; it is killed and catches up."""
        self.scene.receivers += 1
        folder = server_folder(self.scene.site.folder / f"receiver{self.scene.receivers}")
        with Receiver(self.scene.site, folder / "spool", "--partial-interval", "0") as receiver:
            receiver.waits_until_says("receiving WAL")
            with Writers(self._cluster) as writers:
                writers.wait_for(15)
                self._cluster.sql("SELECT pg_switch_wal()")
                writers.wait_for(self.chance.randrange(5, 25))
                receiver.kill()
                self._cluster.sql("SELECT pg_switch_wal()")
                writers.wait_for(10)
            receiver.start()
            last = self.scene.site.archive_everything()

            def shipped() -> str:
                return (receiver.status().get("shipped") or {}).get("segment") or ""

            wait_until(lambda: shipped() >= last, "it had caught up")
        return f"it went on to {last}"

    def promote(self) -> str:
        """The server dies or stops, comes back as a standby, and is made the primary: a new timeline.

        What is prepared then was so in an earlier segment: see `Ledger.postgres_cannot`.
        """
        dies = self.chance.random() < 0.5
        with Writers(self._cluster) as writers:
            writers.wait_for(20)
        self._cluster.sql("SELECT pg_switch_wal()")
        with Writers(self._cluster, prepare=False) as writers:
            writers.wait_for(20)
            if dies:
                self._cluster.kill()
        if not dies:
            self._cluster.stop()
        self.scene.ledger.read(self._cluster)
        signal_file = self._cluster.data_directory / "standby.signal"
        signal_file.touch()
        shutil.chown(signal_file, server_user().pw_name)
        self._cluster.start()
        self._cluster.sql("SELECT pg_promote()")
        wait_until(lambda: self._cluster.sql("SELECT pg_is_in_recovery()") == [(False,)], "it was promoted")
        return f"timeline {self.scene.ledger.begin_timeline(self._cluster)}"

    def go_back(self, *target: str) -> dict[str, Any]:
        """In place, to what the options say, the old directory kept aside or written over; then it archives again."""
        self._cluster.kill()
        self.scene.ledger.read(self._cluster)
        place = ("--destination", self._cluster.data_directory)
        how = self.chance.choice(["--keep-old", "--delta"])
        made = self.scene.lifeboat("restore", *place, how, *target)
        number = self.scene.ledger.begin_timeline(self._cluster)
        self.scene.diary[-1] += f" with {how}, now on timeline {number}"
        if made["kept_old"]:
            shutil.rmtree(made["kept_old"])
        self.scene.site.play(task("pitr_configure", claim="timeline", restart=True, archive_timeout=0))
        return made


def rows(cluster: Cluster) -> dict[int, int]:
    """How many rows there are of each (sub)transaction."""
    return {
        int(xid): number for xid, number in cluster.sql(f"SELECT xmin::text, count(*) FROM {TABLE} GROUP BY xmin::text")
    }


def prepared(cluster: Cluster) -> set[int]:
    """The transactions that await their second phase."""
    return {int(xid) for (xid,) in cluster.sql("SELECT transaction::text FROM pg_prepared_xacts")}
