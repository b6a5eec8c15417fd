# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping WAL that only exists in a directory that is about to be overwritten.

After a crash the newest segments may not have been archived yet. Finished ones are archived now,
as the server itself would have done. Of the rest, what is WAL of this cluster is set aside.
"""

from __future__ import annotations

from pathlib import Path

from ... import durable
from ...errors import LifeboatError
from ...ports import ProgressSink
from ...postgres import wal_names
from ...report.events import PhaseStarted, Warned
from ...repository.wal import WalArchive
from ..wal import claim
from ..wal.archive import check_wal_file

SALVAGED_SUFFIX = ".unarchived-wal"


def salvage_wal(old: Path, archive: WalArchive, aside: Path | None, sink: ProgressSink) -> list[str]:
    """The names of files that were archived now, or set aside in `aside` if that is given."""
    kept: list[str] = []
    ours = claim.claimed(old.parent) == archive.life.incarnation  # a clone's WAL must not get among the original's
    for path in sorted(old.iterdir()):
        if not wal_names.is_wal_file_name(path.name) or not path.is_file() or archive.find(path.name) is not None:
            continue
        try:
            content = path.read_bytes()
            check_wal_file(path.name, content, archive.life)
        except (LifeboatError, OSError):
            continue  # a file kept for reuse, whose content is not what its name says
        finished = ours and (old / "archive_status" / f"{path.name}.ready").exists()
        if not finished and aside is None:
            continue
        if not kept:
            sink.emit(PhaseStarted("salvaging WAL", f"that was never archived, from {old}"))
        kept.append(path.name)
        if finished or aside is None:
            archive.store(path.name, content)
            continue
        durable.make_directories(aside, 0o700)
        durable.write_file(aside / path.name, content, 0o600)
        sink.emit(Warned(f"the unfinished WAL file {path.name} of the old cluster is kept in {aside}"))
    return kept
