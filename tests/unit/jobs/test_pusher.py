# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The background of archive_command: what is acknowledged is durable where it has to be, and nothing else is."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import expect
import made
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import wal_spool
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.archiving.configure import (
    archive_command,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.wal import archive, claim, pusher
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.access import stanza_of
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.key_files import generate_key_file
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.repository import create
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.wal import WalArchive
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import (
    ArchiveSpec,
    DropPolicy,
    KeySpec,
    RepositorySpec,
    WalCopy,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.local import LocalStore
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.wal_spool import WalSpool
from made_cluster import IDENTIFIER
from made_wal import LIFE, name_of, wal

SEGMENT_SIZE_IN_CONTROL_FILE = 228


@dataclass
class Server:
    """A data directory of a server that runs, two repositories, and who archives."""

    data: Path
    copies: tuple[WalCopy, WalCopy]

    @property
    def spool(self) -> WalSpool:
        return WalSpool(str(self.data), wal_spool.life_name(IDENTIFIER, LIFE))

    def finish(self, *numbers: int, content: Callable[[int], bytes] = wal) -> None:
        """Segments that the server wants archived."""
        for number in numbers:
            (self.data / "pg_wal" / name_of(number)).write_bytes(content(number))
            (self.data / f"pg_wal/archive_status/{name_of(number)}.ready").touch()

    def push(self, spec: ArchiveSpec, *, until: Callable[[], bool] | None = None) -> None:
        """Run the background until it has nothing to do, or until something is so."""
        request = pusher.PusherRequest(spec, "main", self.data, idle_seconds=0.0 if until is None else 60.0)
        if until is None:
            assert pusher.run(request, SystemClock())
            return
        background = threading.Thread(target=pusher.run, args=(request, SystemClock()))
        background.start()
        expect.soon(until)
        expect.soon(lambda: wal_spool.ring(self.spool.bell(wal_spool.PUSH), "end"))
        background.join()

    def acknowledged(self) -> list[str]:
        return [name for name in self.spool.ready() if self.is_acknowledged(name)]

    def is_acknowledged(self, name: str) -> bool:
        return self.spool.is_acknowledged(name, (self.data / "pg_wal" / name).stat())

    def archive(self, copy: WalCopy) -> WalArchive:
        stanza = stanza_of(copy.repository, "main")
        return WalArchive(stanza, stanza.life(LIFE))

    def archived(self, copy: WalCopy) -> list[str]:
        return [each.file_name for each in self.archive(copy).segments(1)]


@pytest.fixture
def server(tmp_path: Path) -> Server:
    data = made.data_directory(tmp_path / "data")
    control = made.control_bytes({SEGMENT_SIZE_IN_CONTROL_FILE: ("<I", made.SEGMENT_BYTES)})
    (data / "global/pg_control").write_bytes(control)
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n")
    (data / wal_spool.CLAIM_FILE).write_text(wal_spool.claim_text(wal_spool.life_name(IDENTIFIER, LIFE)))
    copies = []
    for name in ("near", "far"):
        store = LocalStore(tmp_path / name)
        store.create()
        create(store, generate_key_file(tmp_path / f"{name}.key"), SystemClock())
        copies.append(WalCopy(name, RepositorySpec(store.url, KeySpec(tmp_path / f"{name}.key"))))
    return Server(data, (copies[0], copies[1]))


def away(copy: WalCopy) -> Callable[[], object]:
    """Take a repository's disk away, leaving its mount point; returns what brings it back."""
    root = Path(copy.repository.url)
    hidden = root.rename(root.with_name(f"{root.name}-away"))
    root.mkdir()

    def back() -> None:
        assert list(root.iterdir()) == []  # nothing was written below the mount point
        root.rmdir()
        hidden.rename(root)

    return back


def test_everything_goes_to_every_required_repository(server: Server) -> None:
    server.finish(5, 6, 7, 8)
    (server.data / "pg_wal/00000002.history").write_text("1\t0/500000\tno reason\n")
    (server.data / "pg_wal/archive_status/00000002.history.ready").touch()
    server.push(ArchiveSpec(server.copies))
    names = [name_of(number) for number in (5, 6, 7, 8)]
    assert server.acknowledged() == ["00000002.history", *names]
    for copy in server.copies:
        assert server.archived(copy) == names
        archived = server.archive(copy).find(name_of(5))
        assert archived is not None and server.archive(copy).fetch(archived) == wal(5)


def test_an_acknowledgement_is_of_one_file_of_one_life(server: Server) -> None:
    server.finish(5)
    server.push(ArchiveSpec(server.copies[:1]))
    path = server.data / "pg_wal" / name_of(5)
    assert server.is_acknowledged(path.name)
    path.write_bytes(path.read_bytes())  # the same name, later: by a restore, or a clock that went back
    os.utime(path, ns=(path.stat().st_mtime_ns + 1, path.stat().st_mtime_ns + 1))
    assert not server.is_acknowledged(path.name)
    assert not WalSpool(str(server.data), "1-other").is_acknowledged(path.name, path.stat())

    others = WalSpool(str(server.data), "1-other")
    others.keep_acknowledgements_of_this_life()
    assert server.acknowledged() == []
    others.acknowledge(path.name, path.stat())
    server.push(ArchiveSpec(server.copies[:1]))
    assert server.is_acknowledged(path.name) and not others.is_acknowledged(path.name, path.stat())
    assert not [entry for entry in (server.data / "pg_wal").rglob("*") if entry.is_symlink()]


def test_the_shell_asks_only_for_what_is_not_acknowledged_later_than_it_was_written(
    server: Server, tmp_path: Path
) -> None:
    server.finish(5)
    server.push(ArchiveSpec(server.copies[:1]))
    agent = tmp_path / "agent of %f"
    agent.write_text("#!/bin/sh\nexit 7\n")
    agent.chmod(stat.S_IRWXU)
    command = archive_command(agent, ["--cluster", "main"]).replace("%%", "\0")
    command = command.replace("%f", name_of(5)).replace("%p", f"pg_wal/{name_of(5)}").replace("\0", "%")

    def status() -> int:
        return subprocess.run(["/bin/sh", "-c", command], cwd=server.data, check=False).returncode

    path = server.data / "pg_wal" / name_of(5)
    acknowledged = Path(server.spool.acknowledged, name_of(5)).stat().st_mtime_ns
    for seconds, expected in ((-1, 0), (0, 7), (1, 7)):
        os.utime(path, ns=(acknowledged + seconds * 10**9,) * 2)
        assert status() == expected
    os.utime(path, ns=(acknowledged - 10**9,) * 2)
    wal_spool.forget_acknowledgements(str(server.data))
    assert status() == 7


def test_while_a_required_repository_is_away_nothing_is_acknowledged(server: Server) -> None:
    server.finish(5)
    back = away(server.copies[1])
    spec = ArchiveSpec(server.copies)
    server.push(spec, until=lambda: server.spool.failure(name_of(5)) is not None)
    assert "repository_missing" in str(server.spool.failure(name_of(5)))
    assert server.acknowledged() == []
    assert server.archived(server.copies[0]) == [name_of(5)]
    back()
    server.push(spec)
    assert server.acknowledged() == [name_of(5)] == server.archived(server.copies[1])


def test_an_optional_repository_gets_later_what_the_server_has_no_more(server: Server) -> None:
    server.finish(5, 6)
    spec = ArchiveSpec(server.copies[:1], server.copies[1:])
    back = away(server.copies[1])
    server.push(spec, until=lambda: len(server.acknowledged()) == 2)
    for number in (5, 6):
        (server.data / f"pg_wal/archive_status/{name_of(number)}.ready").unlink()
    (server.data / "pg_wal" / name_of(5)).unlink()
    (server.data / "pg_wal" / name_of(6)).write_bytes(wal(9))  # used again
    back()
    server.push(spec, until=lambda: os.listdir(server.spool.owed("far")) == [])
    archive = server.archive(server.copies[1])
    for number in (5, 6):
        archived = archive.find(name_of(number))
        assert archived is not None and archive.fetch(archived) == wal(number)


def test_what_the_foreground_has_archived_itself_is_owed_too(server: Server) -> None:
    server.finish(5)
    spec = ArchiveSpec(server.copies[:1], server.copies[1:])
    back, warnings = away(server.copies[1]), list[str]()
    path = server.data / "pg_wal" / name_of(5)
    assert archive.push(archive.ArchiveRequest(spec, "main", path, server.data), warnings.append)
    assert len(warnings) == 1 and "far" in warnings[0]
    assert os.listdir(server.spool.owed("far")) == [name_of(5)]
    path.unlink()
    (server.data / f"pg_wal/archive_status/{name_of(5)}.ready").unlink()
    back()
    server.push(spec, until=lambda: os.listdir(server.spool.owed("far")) == [])
    assert server.archived(server.copies[1]) == [name_of(5)]


def test_another_content_of_the_name_holds_up_nobody_else(server: Server) -> None:
    server.finish(5)
    spec = ArchiveSpec(server.copies[:1])
    server.push(spec)
    server.finish(5, content=lambda number: wal(number)[:-1] + b"x")
    server.finish(6)
    server.push(spec, until=lambda: server.spool.failure(name_of(5)) is not None and bool(server.acknowledged()))
    assert "wal_conflict" in str(server.spool.failure(name_of(5)))
    assert server.acknowledged() == [name_of(6)]
    archived = server.archive(server.copies[0]).find(name_of(5))
    assert archived is not None and server.archive(server.copies[0]).fetch(archived) == wal(5)


def test_what_the_policy_gives_up_is_recorded(server: Server) -> None:
    spec = ArchiveSpec(server.copies[:1], drop_after=DropPolicy("2", limit_files=2))
    server.finish(4)
    server.push(spec)
    back = away(server.copies[0])
    server.finish(5, 6, 7, 8)
    server.push(replace(spec, drop_after=None), until=lambda: server.spool.failure(name_of(5)) is not None)
    assert server.acknowledged() == [name_of(4)]
    server.push(spec, until=lambda: len(server.acknowledged()) == 3)
    assert server.acknowledged() == [name_of(4), name_of(5), name_of(6)]
    back()
    server.push(spec, until=lambda: len(server.acknowledged()) == 5)
    assert server.archived(server.copies[0]) == [name_of(4), name_of(7), name_of(8)]
    (gap,) = server.archive(server.copies[0]).recorded_gaps()
    assert (gap.files, gap.reason, gap.policy) == ([name_of(5), name_of(6)], "repository_missing", "2")


def test_only_one_at_a_time_and_none_without_a_claim_of_its_own(server: Server) -> None:
    request = pusher.PusherRequest(ArchiveSpec(server.copies), "main", server.data)
    background = threading.Thread(target=pusher.run, args=(request, SystemClock()))
    background.start()
    expect.soon(lambda: wal_spool.ring(server.spool.bell(wal_spool.PUSH), ""))
    assert not pusher.run(request, SystemClock())
    (server.data / "postmaster.pid").unlink()  # it ends with the server
    background.join()

    (server.data / wal_spool.CLAIM_FILE).write_text(wal_spool.claim_text(wal_spool.life_name(IDENTIFIER + 1, LIFE)))
    with expect.failure("claim_of_another_cluster"):
        pusher.run(request, SystemClock())
    (server.data / wal_spool.CLAIM_FILE).unlink()
    with expect.failure("cluster_not_claimed"):
        pusher.run(request, SystemClock())


def test_what_was_restored_claims_a_timeline_or_a_life_of_its_own(server: Server) -> None:
    spec = ArchiveSpec(server.copies)
    server.finish(5)
    server.push(spec)
    assert claim.run(spec, "main", server.data, claim.TIMELINE, SystemClock()) == LIFE  # has it already

    (server.data / wal_spool.CLAIM_FILE).unlink()
    with expect.failure("timeline_not_new"):
        claim.run(spec, "main", server.data, claim.TIMELINE, SystemClock())
    history = server.data / "pg_wal/00000002.history"
    history.write_text("1\t0/600000\tno recovery target specified\n")
    (server.data / "recovery.signal").touch()
    with expect.failure("server_in_recovery"):
        claim.run(spec, "main", server.data, claim.TIMELINE, SystemClock())
    (server.data / "recovery.signal").unlink()
    assert claim.run(spec, "main", server.data, claim.TIMELINE, SystemClock()) == LIFE
    assert claim.claimed(server.data) == LIFE
    assert all(server.archive(copy).find(history.name) for copy in server.copies)

    (server.data / wal_spool.CLAIM_FILE).unlink()  # another clone, promoted elsewhere
    history.write_text("1\t0/700000\tno recovery target specified\n")
    with expect.failure("timeline_taken"):
        claim.run(spec, "main", server.data, claim.TIMELINE, SystemClock())
    assert claim.claimed(server.data) is None
    own = claim.run(spec, "main", server.data, claim.INCARNATION, SystemClock())
    assert own != LIFE
    for copy in server.copies:
        assert [life.incarnation for life in stanza_of(copy.repository, "main").incarnations()] == [LIFE, own]


def test_after_an_upgrade_a_new_life_has_to_be_asked_for(server: Server) -> None:
    spec = ArchiveSpec(server.copies)
    server.finish(5)
    server.push(spec)
    control = {SEGMENT_SIZE_IN_CONTROL_FILE: ("<I", made.SEGMENT_BYTES), 0: ("<Q", IDENTIFIER + 1)}
    (server.data / "global/pg_control").write_bytes(made.control_bytes(control))
    with expect.failure("stanza_of_another_cluster"):
        claim.run(spec, "main", server.data, claim.TIMELINE, SystemClock())
    own = claim.run(spec, "main", server.data, claim.INCARNATION, SystemClock())
    assert wal_spool.claimed_life(str(server.data)) == wal_spool.life_name(IDENTIFIER + 1, own)
    assert server.archived(server.copies[0]) == [name_of(5)]


def test_a_life_that_nobody_has_used_is_taken_without_asking(server: Server) -> None:
    """Whoever backs a server up by its protocol has registered it, but could claim nothing in its directory."""
    spec = ArchiveSpec(server.copies[:1])
    stanza = stanza_of(server.copies[0].repository, "main")
    life = stanza.register(IDENTIFIER, 15, made.SEGMENT_BYTES, SystemClock())
    (server.data / wal_spool.CLAIM_FILE).unlink()
    facts = claim.facts_of(server.data)
    assert claim.plan_all([stanza], server.data, facts, None) == claim.TIMELINE
    assert claim.make([stanza], server.data, facts, claim.TIMELINE, SystemClock()) == life.incarnation

    (server.data / wal_spool.CLAIM_FILE).unlink()
    WalArchive(stanza, life).store(name_of(5), wal(5))
    with expect.failure("cluster_not_claimed"):
        claim.plan_all([stanza], server.data, facts, None)
    with expect.failure("timeline_not_new"):
        claim.run(spec, "main", server.data, claim.TIMELINE, SystemClock())
