# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pg_basebackup: PostgreSQL's own full backup, for orientation. It neither encrypts nor works in parallel."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.lifeboat.postgresql.tests.harness import Cluster

from ..measuring import Command
from .base import ZSTD_LEVEL

FIRST_WITH_ZSTD = 15


class PgBaseBackup:
    """Only ever makes full backups, so it is no `Contender`."""

    def __init__(self, cluster: Cluster) -> None:
        self.name = f"pg_basebackup {cluster.postgres.version}"
        self._cluster = cluster

    def backup(self, directory: Path) -> Command:
        """A compressed tar file in a new directory."""
        cluster = self._cluster
        server = [f"--host={cluster.socket_dir}", f"--port={cluster.port}", "--username=postgres"]
        compression = f"zstd:{ZSTD_LEVEL}" if cluster.postgres.major >= FIRST_WITH_ZSTD else "1"  # before: only gzip
        output = [f"--pgdata={directory}", "--format=tar", f"--compress={compression}"]
        return [cluster.postgres.bin_dir / "pg_basebackup", *server, *output, "--checkpoint=fast", "--wal-method=none"]
