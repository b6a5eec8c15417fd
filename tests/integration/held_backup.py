# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Started by a test: a backup that waits at a chosen point until it is told to go on.

    held_backup.py CONFIG CLUSTER TYPE POINT [DATA_DIRECTORY SOCKET_DIRECTORY PORT]

POINT is the phase at whose beginning it waits, or `file:NAME`: when it has opened the file whose name ends so, and
knows its size, but has read nothing of it. It says `held` in a line when it waits, goes on when it gets a line, and
prints as JSON what became of it. The last three arguments make it back up another server, such as a standby.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import config
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.backup import physical as backup
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import Event, PhaseStarted

_once = threading.Lock()


def hold() -> None:
    """Wait, the first time that the point is reached."""
    if _once.acquire(blocking=False):
        sys.stdout.write("held\n")
        sys.stdout.flush()
        sys.stdin.readline()


class HoldingSink:
    """Holds when the phase begins."""

    def __init__(self, point: str) -> None:
        self._point = point
        self.said: list[str] = []

    def emit(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, PhaseStarted):
            self.said.append(f"{event.phase}: {event.detail}")
        if isinstance(event, PhaseStarted) and event.phase == self._point:
            hold()


def hold_at_file(name: str) -> None:
    """Hold when the size of such a file has been looked at."""
    fstat = os.fstat

    def holding_fstat(descriptor: int) -> os.stat_result:
        facts = fstat(descriptor)
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(name):
            hold()
        return facts

    os.fstat = holding_fstat


def main(path: Path, name: str, backup_type: str, point: str, *server: str) -> None:
    """Make the backup."""
    cluster, repository = config.specs(name, config.cluster_settings(config.read(path), path, name))
    if server:
        directory, socket_directory, port = server
        connection = replace(cluster.connection, socket_directory=socket_directory, port=int(port))
        cluster = replace(cluster, data_directory=Path(directory), connection=connection)
    if point.startswith("file:"):
        hold_at_file(point.partition(":")[2])
    request = backup.BackupRequest(cluster, repository, backup_type=backup_type)
    outcome: dict[str, Any]
    sink = HoldingSink(point)
    try:
        made = backup.run(request, SystemClock(), sink)
        backup_id = made.backup.backup_id if made.backup else ""
        outcome = {"backup": backup_id, "damaged": made.damaged_pages, "said": sink.said}
    except LifeboatError as error:
        outcome = error.as_dict()
    sys.stdout.write(json.dumps(outcome) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], *sys.argv[5:])
