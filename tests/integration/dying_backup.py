# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Started by a test: a backup that kills itself the hard way at a chosen point.

    dying_backup.py CONFIG CLUSTER POINT [TYPE]

POINT is the phase at whose beginning it dies, or `journal`: after the second note of finished files.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.backup import physical as backup
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.intents import Intents
from dying import DyingSink, die, specs


def die_after_notes(count: int) -> None:
    """Let the process die once so many notes are in the repository."""
    write_note, notes = Intents.journal, []

    def journal(self: Intents, *arguments: object) -> None:
        write_note(self, *arguments)  # type: ignore[arg-type]
        notes.append(arguments)
        if len(notes) == count:
            die()

    Intents.journal = journal  # type: ignore[method-assign]


def main(path: Path, name: str, point: str, backup_type: str = "full") -> None:
    """Make the backup, or die trying."""
    cluster, repository = specs(path, name)
    if point == "journal":
        die_after_notes(2)
    request = backup.BackupRequest(cluster, repository, backup_type=backup_type, journal_every=1 << 20, jobs=1)
    backup.run(request, SystemClock(), DyingSink(point))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
