# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Started by a test: a restore that kills itself the hard way at a chosen point.

    dying_restore.py CONFIG CLUSTER AGENT DESTINATION POINT

POINT is the phase at whose beginning it dies; `bytes`: after the first bytes were written; or `pg_control`: when that
is in its place.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import durable
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore import physical as restore
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.process import Runner
from dying import DyingSink, die, specs


def die_after_writing(name: str) -> None:
    """Let the process die once a file of this name is durable."""
    write = durable.write_file

    def write_file(path: Path, data: bytes, mode: int) -> None:
        write(path, data, mode)
        if path.name == name:
            die()

    durable.write_file = write_file


def main(path: Path, name: str, agent: Path, destination: Path, point: str) -> None:
    """Restore, or die trying."""
    cluster, repository = specs(path, name)
    request = restore.RestoreRequest(
        repository, cluster.stanza, destination, agent, bin_directory=cluster.bin_directory, start=False
    )
    if point == "pg_control":
        die_after_writing(point)
    restore.run(request, SystemClock(), Runner(), DyingSink(point))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]), sys.argv[5])
