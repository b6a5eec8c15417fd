# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restoring in a cluster's own place: what is there is kept aside, and its WAL is not lost."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from ... import durable
from ...errors import LifeboatError, PreconditionError
from ...ports import ProgressSink
from ...postgres import control_file, postmaster_pid
from ...postgres.data_directory import WAL_DIRECTORY
from ...report.events import PhaseStarted, Warned
from ...repository.stanza import Stanza
from ...repository.wal import WalArchive
from .layout import MARKER
from .salvage import salvage_wal


def name_for(directory: Path, now: datetime) -> Path:
    """Where the old directory goes: beside, with the time."""
    return directory.with_name(f"{directory.name}.before-{now.strftime('%Y%m%dT%H%M%SZ')}")


def has_something(directory: Path) -> bool:
    """Whether there is anything to keep. An unfinished restore of ours goes on instead."""
    try:
        content = os.listdir(directory)
    except OSError:
        return False
    return bool(content) and not (MARKER in content and not (directory / control_file.CONTROL_FILE).exists())


def require_possible(directory: Path, system_identifier: int) -> None:
    """Refuse a running server, another cluster, and what cannot be renamed."""
    attempted = f"keeping {directory} aside"
    if postmaster_pid.is_running(directory):
        raise PreconditionError(
            attempted, "a server is running in this directory.", "Stop it first.", code="directory_in_use"
        )
    try:
        found = control_file.read(directory).system_identifier
    except LifeboatError:
        found = system_identifier  # too damaged to say whose it is; nothing of it is lost
    if found != system_identifier:
        raise PreconditionError(
            attempted,
            f"it holds the cluster with system identifier {found}, the backup is of {system_identifier}.",
            "Give the directory of the cluster that the backup was made of; nothing was touched.",
            code="directory_of_another_cluster",
        )
    if os.path.ismount(directory) or not os.access(directory.parent, os.W_OK | os.X_OK):
        raise PreconditionError(
            attempted,
            f"it cannot be renamed: it is a mount point, or {directory.parent} may not be written to.",
            "Let the server's owner write there, restore into another directory, or set delta instead.",
            code="keep_old_impossible",
        )


def salvage_finished(directory: Path, stanza: Stanza, sink: ProgressSink) -> list[str]:
    """Archive the finished WAL of the cluster in a directory, as its server would have: a target may need it."""
    life = stanza.current()
    wal = directory / WAL_DIRECTORY
    if life is None or not wal.is_dir() or postmaster_pid.is_running(directory):
        return []
    return salvage_wal(wal, WalArchive(stanza, life), None, sink)


def set_aside(directory: Path, kept: Path, sink: ProgressSink) -> None:
    """Give the old directory its new name. Its unfinished WAL stays in it."""
    sink.emit(PhaseStarted("keeping the old directory", f"as {kept}"))
    try:
        directory.rename(kept)
        durable.fsync_directory(directory.parent)
    except OSError as exc:
        raise PreconditionError(
            f"keeping {directory} aside as {kept}",
            f"it cannot be renamed: {exc.strerror}.",
            "Restore into another directory, or set delta instead; nothing was touched.",
            code="keep_old_impossible",
        ) from exc
    sink.emit(Warned(f"the old data directory is kept as {kept}: remove it when you do not need it any more"))
