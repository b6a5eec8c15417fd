# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Getting what changed between two backups from the server's WAL summaries, or finding out that one cannot.

The server writes a summary when the checkpoint that a backup begins with is done, which takes it a
moment. It is waited for only as long as it can still come.
"""

from __future__ import annotations

from pathlib import Path

from ...clock import Clock
from ...errors import IntegrityError
from ...ports import ProgressSink
from ...postgres import wal_summaries
from ...postgres.wal_names import Lsn, format_lsn
from ...postgres.wal_summaries import ChangedBlocks, Summary
from ...report.events import PhaseStarted, Warned

_PATIENCE = 20.0
_PAUSE = 0.05


def changed_blocks(
    directory: Path, timeline: int, between: tuple[Lsn, Lsn], clock: Clock, sink: ProgressSink
) -> ChangedBlocks | None:
    """The blocks that WAL between these two places has changed, or None: then everything has to be read."""
    start, end = between
    deadline = clock.monotonic() + _PATIENCE
    waiting = False
    while True:
        summaries = wal_summaries.there(directory, timeline)
        links, reached = wal_summaries.chain(summaries, start, end)
        if reached >= end:
            return _union(links, sink)
        if any(each.start > reached for each in summaries):  # what comes is behind the gap
            return None
        if not summaries or clock.monotonic() >= deadline:
            sink.emit(Warned(f"the server has no WAL summary from {format_lsn(reached)} on: reading all changed files"))
            return None
        if not waiting:
            sink.emit(PhaseStarted("waiting for the WAL summary", f"up to {format_lsn(end)}"))
            waiting = True
        clock.sleep(_PAUSE)


def _union(links: list[Summary], sink: ProgressSink) -> ChangedBlocks | None:
    try:
        return wal_summaries.union(links)
    except IntegrityError as error:
        sink.emit(Warned(f"{error.message}; reading all changed files"))
        return None
