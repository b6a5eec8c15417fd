# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can happen: each action draws its arguments, acts on real servers, and compares what it sees with the model."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

from harness import Cluster, free_port, run, server_folder, server_user, wait_until
from harness.machine import CLEAN_ENVIRONMENT
from support import STANZA, objects, start_and_recover
from write_load import WriteLoad, contents

from .model import Contents, Moment, World

# How often each is drawn, compared with the others.
WEIGHTS = {
    "work": 5,
    "full": 2,
    "incremental": 5,
    "incremental_from_the_standby": 2,
    "killed_backup": 4,
    "restart": 1,
    "crash": 1,
    "restore_everything": 2,
    "restore_a_moment": 2,
    "delta_restore": 2,
    "verify": 2,
    "flip_a_byte_in_a_copy": 2,
}
MOST_BACKUPS = 25  # from then on there are only incremental ones, which take little room
MOST_RESTORED = 3


class Actions:
    """On one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.site = world.site
        self.cluster = world.site.cluster
        self.chance = world.chance

    # --- work

    def work(self) -> str:
        """Write for a while, in the manner of a busy shop or of a few statements."""
        if self.chance.random() < 0.5:
            transactions = self.chance.randrange(20, 200)
            with WriteLoad(self.cluster, rate=150) as load:
                load.wait_for(transactions)
            what = f"{transactions} transactions and more"
        else:
            rows, part = self.chance.randrange(1, 20000), self.chance.randrange(2, 50)
            self.cluster.sql(f"INSERT INTO load_rows SELECT g, md5(g::text) FROM generate_series(1, {rows}) AS g")
            self.cluster.sql(f"UPDATE pgbench_accounts SET filler = md5(random()::text) WHERE aid % {part} = 0")
            self.cluster.sql(f"DELETE FROM load_rows WHERE n % {part} = 1")
            self.cluster.sql(self.chance.choice(["VACUUM load_rows", "CHECKPOINT", "TRUNCATE load_short", "SELECT 1"]))
            what = f"{rows} rows, every {part}th row"
        self.world.rest()
        return what

    # --- backups

    def _made(self, *arguments: str | Path) -> str:
        made = json.loads(self.site.lifeboat("backup", "--json", *arguments).stdout)["backup"]
        assert made["damaged_pages"] == 0, made
        backup = str(made["id"])
        assert backup not in self.world.backups
        self.world.backups[backup] = len(self.world.moments)
        self.world.killed = False
        return backup

    def full(self) -> str:
        """A new generation, now and then under load; an incremental one when there are many backups."""
        kind = "full" if len(self.world.backups) < MOST_BACKUPS else "incremental"
        if self.chance.random() < 0.5:
            return self._made("--type", kind)
        with WriteLoad(self.cluster):
            backup = self._made("--type", kind)
        self.world.rest()
        return f"{backup} under load"

    def incremental(self) -> str:
        """What has changed, now and then under load and with another number of workers."""
        jobs = str(self.chance.choice([1, 2, 4]))
        if self.chance.random() < 0.6:
            return self._made("--type", "incremental", "--jobs", jobs)
        with WriteLoad(self.cluster):
            backup = self._made("--type", "incremental", "--jobs", jobs)
        self.world.rest()
        return f"{backup} under load"

    def incremental_from_the_standby(self) -> str:
        """Its primary writes, and ends the segment that the backup needs."""
        with WriteLoad(self.cluster, switching=True):
            backup = self._made("--type", "incremental", "--cluster", "standby")
        self.world.rest()
        return backup

    def killed_backup(self) -> str:
        """It dies the hard way somewhere; it may have become visible before, and is whole then."""
        kind = self.chance.choice(["full", "incremental", "incremental"])
        pause = self.chance.uniform(0.2, 1.6)
        known = list(self.world.backups)
        config = ("--config", self.site.config_file, "--cluster", STANZA)
        user = server_user() if os.geteuid() == 0 else None
        process = subprocess.Popen(
            [self.site.command, "backup", *config, "--type", kind],
            env=CLEAN_ENVIRONMENT,
            cwd=self.site.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
        )
        try:
            process.wait(pause)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.world.killed = True
        visible = self.site.backup_ids()
        assert visible[: len(known)] == known
        new = visible[len(known) :]
        assert len(new) <= 1
        if process.returncode == 0:
            assert new
            self.world.killed = False
        for backup in new:
            self.world.backups[backup] = len(self.world.moments)
            self.site.lifeboat("verify", "--backup", backup)
        return f"{kind} after {pause:.2f} s: {'visible' if new else 'nothing to be seen'}"

    # --- the server

    def restart(self) -> str:
        """In good order."""
        self.cluster.restart()
        return ""

    def crash(self) -> str:
        """With recovery afterwards."""
        self.cluster.kill()
        self.cluster.start()
        return ""

    # --- restores

    def _place(self) -> Cluster:
        while len(self.world.restored) >= MOST_RESTORED:
            self.world.restored.pop(0).remove()
        folder = server_folder(self.world.places / f"r{self.chance.randrange(1 << 40):x}")
        place = self.cluster.postgres.adopt(folder / "data", free_port(), server_folder(folder / "s", 0o700))
        self.world.restored.append(place)
        return place

    def _restore(self, place: Cluster, backup: str, *arguments: str | Path) -> None:
        where = (
            "--destination",
            place.data_directory,
            "--port",
            str(place.port),
            "--socket-directory",
            place.socket_dir,
        )
        self.site.lifeboat("restore", "--backup", backup, *where, *arguments)

    def _compare(self, place: Cluster, wanted: Contents) -> None:
        assert contents(place) == wanted
        if self.chance.random() < 0.4:
            place.stop()
            place.postgres.run("pg_checksums", "--check", "--pgdata", place.data_directory)
            place.start()
        place.kill()

    def restore_everything(self) -> str:
        """Any backup, with all WAL after it: always the same in the end."""
        now = self.world.rest()
        self.site.archive_everything()
        backup, place = self.chance.choice(list(self.world.backups)), self._place()
        if self.chance.random() < 0.5:
            self._restore(place, backup)
        else:
            self._restore(place, backup, "--no-start")
            place.postgres.run("pg_verifybackup", place.data_directory)
            start_and_recover(place)
        self._compare(place, now.contents)
        return backup

    def restore_a_moment(self) -> str:
        """A time at which nobody wrote, from any backup that ended before it."""
        moments = self.world.moments[:-1]
        usable = [(backup, first) for backup, first in self.world.backups.items() if first < len(moments)]
        if not usable:
            return "none yet"
        backup, first = self.chance.choice(usable)
        moment: Moment = self.chance.choice(moments[first:])
        self.cluster.sql("INSERT INTO load_short VALUES (1)")  # a later commit, at which recovery stops
        self.world.rest()
        self.site.archive_everything()
        place = self._place()
        self._restore(place, backup, "--target-time", moment.time)
        self._compare(place, moment.contents)
        return f"moment {moment.number} from {backup}"

    def delta_restore(self) -> str:
        """Over something that was restored, has gone another way since, and was damaged."""
        if not self.world.restored:
            return "nothing to restore over"
        place = self.chance.choice(self.world.restored)
        (place.data_directory / "postmaster.pid").unlink(missing_ok=True)
        files = sorted(path for path in place.data_directory.glob("base/*/*") if path.is_file() and path.stat().st_size)
        for path in self.chance.sample(files, 5):
            self._damage(path)
        now = self.world.rest()
        self.site.archive_everything()
        backup = self.chance.choice(list(self.world.backups))
        self._restore(place, backup, "--delta")
        self._compare(place, now.contents)
        return backup

    def _damage(self, path: Path) -> None:
        how = self.chance.choice(["flip", "cut", "remove", "grow"])
        if how == "flip":
            flip(path, self.chance.randrange(path.stat().st_size))
        elif how == "cut":
            os.truncate(path, self.chance.randrange(path.stat().st_size))
        elif how == "remove":
            path.unlink()
        else:
            with path.open("ab") as stream:
                stream.write(b"\xff" * 8192)

    # --- proofs

    def verify(self) -> str:
        """Every byte of any backup."""
        backup = self.chance.choice(list(self.world.backups))
        self.site.lifeboat("verify", "--backup", backup)
        return backup

    def flip_a_byte_in_a_copy(self) -> str:
        """Somebody notices: reading a backup that needs the object, or whoever lists backups."""
        copy = self.world.places / f"copy{self.chance.randrange(1 << 40):x}"
        run(["cp", "-a", self.site.repository, copy])
        try:
            name = self.chance.choice([each for each in objects(copy) if "/intents/" not in each])
            position = self.chance.randrange((copy / name).stat().st_size)
            flip(copy / name, position)
            complaints = []
            for backup in self.world.backups:
                arguments = ("verify", "--repository", copy, "--backup", backup)
                done = self.site.lifeboat(*arguments, check=False)
                if done.returncode:
                    assert name in done.stdout + done.stderr, done
                    assert "internal error" not in done.stderr, done
                    complaints.append(backup)
            needed = "/wal/" not in name and not name.endswith("/packs")
            # A pack may have bytes that no backup names any more: of attempts that others went on from.
            assert complaints or not needed or "/generations/" in name, (name, position)
            return f"byte {position} of {name}: {len(complaints)} backups are affected"
        finally:
            shutil.rmtree(copy)


def flip(path: Path, position: int) -> None:
    """Change one bit."""
    with path.open("r+b") as stream:
        stream.seek(position)
        byte = stream.read(1)
        stream.seek(position)
        stream.write(bytes([byte[0] ^ 0x10]))


def catch_up(world: World) -> None:
    """Wait until the standby has replayed what there is."""
    ((position,),) = world.site.cluster.sql("SELECT pg_current_wal_lsn()::text")
    replayed = "SELECT pg_last_wal_replay_lsn() >= %(position)s::pg_lsn"
    wait_until(lambda: world.standby.sql(replayed, position=position) == [(True,)], "the standby had caught up")
