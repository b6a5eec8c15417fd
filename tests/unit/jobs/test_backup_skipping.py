# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files an incremental takes over unread. Each test changes one behind size and time, and must find it read where
size and time prove nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace

import made
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.data_directory import (
    Entry,
    EntryKind,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import FileEntry, Header
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.file_reader import FileReader
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.previous import Resumed
from made_cluster import Cluster

PATH = "base/1/16384_fsm"
LONG_AGO = 50 * 10**9


def put(cluster: Cluster, text: bytes, mtime_ns: int = LONG_AGO, mode: int = 0o600) -> None:
    path = cluster.data / PATH
    path.write_bytes(text)
    path.chmod(mode)
    os.utime(path, ns=(mtime_ns, mtime_ns))


def backed_up(cluster: Cluster, header: Header) -> bytes:
    stanza = cluster.stanza
    (entry,) = [each for each in stanza.entries(header.backup_id) if isinstance(each, FileEntry) and each.path == PATH]
    return b"".join(FileReader(stanza, header.generation, 1).pieces(entry))


@pytest.fixture
def started(cluster: Cluster) -> Cluster:
    """With a full backup, begun two hours after the file was written."""
    put(cluster, b"before")
    cluster.back_up(later=7200)
    return cluster


def test_what_size_and_time_say_is_the_same_is_not_read(started: Cluster) -> None:
    """What all others here are to be compared with."""
    put(started, b"behind")
    assert backed_up(started, started.back_up("incremental")) == b"before"


def test_a_full_backup_reads_everything_and_tells(started: Cluster) -> None:
    put(started, b"behind")
    with pytest.raises(Exception, match="changed although their size and time did not"):
        started.back_up("full")
    assert backed_up(started, started.stanza.headers()[-1]) == b"behind"


@pytest.mark.parametrize(
    ("text", "mtime_ns", "mode"),
    [(b"longer than before", LONG_AGO, 0o600), (b"after.", LONG_AGO + 1, 0o600), (b"after.", LONG_AGO, 0o640)],
    ids=["size", "time", "mode"],
)
def test_another_size_time_or_mode_is_a_change(started: Cluster, text: bytes, mtime_ns: int, mode: int) -> None:
    put(started, text, mtime_ns, mode)
    assert backed_up(started, started.back_up("incremental")) == text


@pytest.mark.parametrize(("written", "read"), [(-1.0, False), (0.0, True), (0.9, True), (500.0, True)])
def test_what_was_written_in_the_second_of_the_start_or_after_it_may_have_changed_again(
    cluster: Cluster, written: float, read: bool
) -> None:
    begins = int(cluster.clock.now().timestamp()) + 7200
    mtime_ns = int((begins + written) * 10**9)
    put(cluster, b"before", mtime_ns)
    cluster.clock.sleep(begins - cluster.clock.now().timestamp())
    cluster.back_up(later=0)
    put(cluster, b"behind", mtime_ns)
    assert backed_up(cluster, cluster.back_up("incremental")) == (b"behind" if read else b"before")


def test_after_a_promotion_or_a_restore_times_prove_nothing(started: Cluster) -> None:
    put(started, b"behind")
    (started.data / "global/pg_control").write_bytes(made.control_bytes({48: ("<I", 2)}))
    assert backed_up(started, started.back_up("incremental")) == b"behind"


@pytest.mark.parametrize("later", [-7200, 0])
def test_after_the_clock_was_set_back_times_prove_nothing(started: Cluster, later: float) -> None:
    put(started, b"behind")
    assert backed_up(started, started.back_up("incremental", later=later)) == b"behind"


def test_times_that_a_stream_has_brought_prove_nothing(started: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    headers: Callable[[Stanza], list[Header]] = Stanza.headers
    monkeypatch.setattr(Stanza, "headers", lambda stanza: [replace(each, method="stream") for each in headers(stanza)])
    put(started, b"behind")
    assert backed_up(started, started.back_up("incremental")) == b"behind"


def test_backups_of_another_life_are_no_parents(started: Cluster) -> None:
    """A clone of its own has files of the same names and, where they were copied so, of the same times."""
    put(started, b"behind")
    life = started.stanza.begin_another(started.life.system_identifier, 15, made.SEGMENT_BYTES, started.clock)
    other = replace(started, life=life)
    header = other.back_up("auto")
    assert (header.backup_type, backed_up(other, header)) == ("full", b"behind")


def test_of_an_interrupted_backup_what_has_changed_since_is_read_again() -> None:
    known = FileEntry(PATH, 6, LONG_AGO, 0o600, "data", "")
    found = Entry(EntryKind.FILE, PATH, 6, LONG_AGO, 0o600)
    resumed = Resumed([("1970-01-01T02:00:00.000000Z", known)])
    assert resumed.file(found) == known
    for changed in (replace(found, size=7), replace(found, mtime_ns=LONG_AGO + 1), replace(found, path="base/1/2")):
        assert resumed.file(changed) is None
    assert Resumed([("1970-01-01T00:00:50.000000Z", known)]).file(found) is None
