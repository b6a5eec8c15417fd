# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster made by hand, with a connection that answers as its server would."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import made
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.backup import physical as backup
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.backup.policy import decide
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.server import Server
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.manifest import Header
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Incarnation, Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.wal import WalArchive
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import (
    ClusterSpec,
    ConnectionSpec,
    KeySpec,
    RepositorySpec,
)
from fakes import Collector

IDENTIFIER = 7380000000000000001
LABEL = "START WAL LOCATION: 0/200028 (file 000000010000000000000002)\nSTART TIMELINE: 1\n"


class AnsweringConnection:
    """Answers what it was asked for, and notes it."""

    def __init__(self, **answers: Any) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, list[tuple[Any, ...]]] = {
            "starting backup mode": [("0/200028",)],
            "stopping backup mode": [("0/300500", LABEL)],
            "asking the server for its time": [(datetime(2026, 1, 1, tzinfo=timezone.utc),)],
            "listing the server's configuration files": [],
        }

    def rows(self, attempted: str, query: str, *params: Any) -> list[tuple[Any, ...]]:
        self.asked.append(attempted)
        return self.answers[attempted]

    def row(self, attempted: str, query: str, *params: Any) -> tuple[Any, ...]:
        return self.rows(attempted, query, *params)[0]


@dataclass
class Cluster:
    """A data directory, and everything that a backup of it takes."""

    stanza: Stanza
    life: Incarnation
    data: Path
    clock: Clock
    connection: AnsweringConnection = field(default_factory=AnsweringConnection)
    sink: Collector = field(default_factory=Collector)
    config_directory: Path | None = None
    settings: dict[str, str] = field(default_factory=dict)
    data_checksums: bool = False

    @property
    def archive(self) -> WalArchive:
        return WalArchive(self.stanza, self.life)

    def server(self) -> Server:
        place = self.config_directory or self.data
        settings = {
            name: str(place / name.replace("_file", ".conf")) for name in ("config_file", "hba_file", "ident_file")
        }
        settings["config_file"] = str(place / "postgresql.conf")
        return Server(
            version_num=150004,
            data_directory=self.data,
            system_identifier=IDENTIFIER,
            in_recovery=False,
            started=self.clock.now(),
            wal_segment_bytes=made.SEGMENT_BYTES,
            data_checksums=self.data_checksums,
            settings={**settings, "archive_mode": "on", **self.settings},
        )

    def back_up(self, backup_type: str = "full", later: float = 3600, **how: Any) -> Header:
        """Make a backup, as a rule later than everything before."""
        self.clock.sleep(later)
        self.put_wal(2, 3)
        repository = RepositorySpec("unused", KeySpec())
        request = backup.BackupRequest(ClusterSpec("main", "main", ConnectionSpec()), repository, **{"jobs": 2, **how})
        decision = decide(backup_type, timedelta(days=30), self.stanza.headers(), self.life, self.clock.now())
        job = backup._Backup(
            request, decision, self.stanza, self.life, self.server(), self.connection, self.clock, self.sink
        )
        result = job.make()
        assert result.backup is not None
        return result.backup

    def put_wal(self, *numbers: int) -> None:
        for number in numbers:
            self.archive.store(f"{1:08X}{number:016X}", b"segment %d" % number)
