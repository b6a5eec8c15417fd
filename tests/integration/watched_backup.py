# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Started by a test: a full backup that notes, in order, what it makes durable.

    watched_backup.py CONFIG CLUSTER

Prints a JSON list of pairs: `["sync", PATH]` when a file or directory is synced, under the name that it has at that
moment, and `["name", PATH]` when a file gets its final name.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import config
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.backup import physical as backup
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import Event

NOTES: list[tuple[str, str]] = []


class Silence:
    """A progress sink."""

    def emit(self, event: Event) -> None:
        """Nobody listens."""


def watch() -> None:
    """Have the operating system's functions note that they were called, once they have succeeded."""
    fsync, replace, link = os.fsync, os.replace, os.link

    def noting_fsync(descriptor: int) -> None:
        fsync(descriptor)
        NOTES.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}")))

    def noting(rename: Any) -> Any:
        def renamed(source: Any, target: Any, **options: Any) -> None:
            rename(source, target, **options)
            NOTES.append(("name", str(target)))
            NOTES.append(("was", str(source)))

        return renamed

    os.fsync, os.replace, os.link = noting_fsync, noting(replace), noting(link)


def main(path: Path, name: str) -> None:
    """Make the backup and print the notes."""
    cluster, repository = config.specs(name, config.cluster_settings(config.read(path), path, name))
    watch()
    backup.run(backup.BackupRequest(cluster, repository, backup_type="full"), SystemClock(), Silence())
    sys.stdout.write(json.dumps(NOTES))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
