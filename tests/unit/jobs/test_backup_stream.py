# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which servers may send a backup, and as whom a host without their files works."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import expect
import made
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import as_owner, config
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.backup import stream as backup_stream
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.replication import RemoteServer
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import Header
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Incarnation, Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.wal import WalArchive
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import (
    ClusterSpec,
    ConnectionSpec,
    KeySpec,
    RepositorySpec,
)

SERVER = RemoteServer(150004, 7380000000000000001, 2, 1 << 30, False, made.SEGMENT_BYTES, True, "on")


@pytest.fixture
def life(stanza: Stanza, clock: Clock) -> Incarnation:
    return stanza.register(SERVER.system_identifier, SERVER.major, made.SEGMENT_BYTES, clock)


def header(life: Incarnation, timeline: int, stop_lsn: int) -> Header:
    return made.header(incarnation=life.incarnation, timeline=timeline, stop_lsn=stop_lsn)


def test_a_server_that_was_left_behind_is_refused(stanza: Stanza, life: Incarnation) -> None:
    backup_stream.require_source(SERVER, stanza, life, [header(life, 1, 1 << 40), header(life, 2, 1 << 30)])
    for server in (SERVER, replace(SERVER, in_recovery=True)):
        with expect.failure("timeline_left_behind"):
            backup_stream.require_source(server, stanza, life, [header(life, 3, 1 << 20)])


def test_backups_of_an_earlier_life_do_not_matter(stanza: Stanza, life: Incarnation) -> None:
    earlier = made.header(incarnation="another", timeline=9, stop_lsn=1 << 40)
    backup_stream.require_source(SERVER, stanza, life, [earlier])


def test_a_copy_is_behind_its_backups_but_a_standby_may_be(stanza: Stanza, life: Incarnation) -> None:
    newer = [header(life, 2, (1 << 30) + 1)]
    with expect.failure("server_behind_its_backups"):
        backup_stream.require_source(SERVER, stanza, life, newer)
    backup_stream.require_source(replace(SERVER, in_recovery=True), stanza, life, newer)


def test_without_archiving_there_must_be_wal_from_elsewhere(stanza: Stanza, life: Incarnation) -> None:
    silent = replace(SERVER, archive_mode="off")
    with expect.failure("archiving_off"):
        backup_stream.require_source(silent, stanza, life, [])
    backup_stream.require_source(replace(silent, in_recovery=True), stanza, life, [])
    WalArchive(stanza, life).store("000000020000000000000001", b"segment")
    backup_stream.require_source(silent, stanza, life, [])


def test_the_method_is_one_of_two() -> None:
    values = {"repository": "/srv/r", "key_file": "/etc/key"}
    assert config.specs("main", values)[0].method == "files"
    assert config.specs("main", {**values, "method": "stream"})[0].method == "stream"
    with expect.failure("setting_invalid"):
        config.specs("main", {**values, "method": "magic"})


def test_whom_to_work_as_without_a_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = ClusterSpec("main", "main", ConnectionSpec(), method="stream")
    key = tmp_path / "key"
    repository = RepositorySpec("s3://bucket/x", KeySpec(key_file=key))
    assert as_owner.owner_for_cluster(cluster, repository).uid == os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert as_owner.owner_for_cluster(cluster, repository).uid == 0
    key.touch()
    assert as_owner.owner_for_cluster(cluster, repository).uid == key.stat().st_uid
    with expect.failure("data_directory_needed"):
        as_owner.owner_for_cluster(replace(cluster, method="files"), repository)
