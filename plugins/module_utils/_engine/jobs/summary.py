# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results as plain values: what modules return and `lifeboat --json` prints."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..clock import utc_text
from ..postgres.wal_names import format_lsn
from ..repository.manifest import Header, SetHeader

if TYPE_CHECKING:
    from .restore.logical import LogicalRestoreResult
    from .restore.physical import RestoreResult
    from .restore.restore_point import PointResult
    from .status.info import Info


def backup(header: Header) -> dict[str, Any]:
    """One backup, without what only a restore needs."""
    return {
        "id": header.backup_id,
        "kind": "physical",
        "type": header.backup_type,
        "method": header.method,
        "parent": header.parent or "",
        "generation": header.generation,
        "stanza": header.stanza,
        "started": header.started,
        "finished": header.finished,
        "recoverable_from": header.stop_time,
        "server_version": header.server_version,
        "major_version": header.major_version,
        "incarnation": header.incarnation,
        "system_identifier": str(header.system_identifier),
        "timeline": header.timeline,
        "start_lsn": format_lsn(header.start_lsn),
        "stop_lsn": format_lsn(header.stop_lsn),
        "files": header.file_count,
        "bytes": header.raw_bytes,
        "stored_bytes": header.stored_bytes,
        "damaged_pages": header.damaged_pages,
        "data_checksums": header.data_checksums,
        "class": header.backup_class,
        "annotations": header.annotations,
    }


def logical(header: SetHeader) -> dict[str, Any]:
    """One backup of another kind than physical."""
    return {
        "id": header.backup_id,
        "kind": header.kind,
        "type": header.backup_type,
        "stanza": header.stanza,
        "started": header.started,
        "finished": header.finished,
        "server_version": header.server_version,
        "members": [
            {
                "kind": member.kind,
                "name": member.name,
                "format": member.form,
                "as_of": member.as_of,
                "server_bytes": member.server_bytes,
                "options": member.options,
            }
            for member in header.members
        ],
        "bytes": header.raw_bytes,
        "stored_bytes": header.stored_bytes,
        "class": header.backup_class,
        "annotations": header.annotations,
    }


def restore(result: RestoreResult) -> dict[str, Any]:
    """A restored cluster."""
    return {
        "backup": backup(result.backup),
        "timeline": result.timeline,
        "running": result.running,
        "state": result.state.value if result.state else "not started",
        "stopped_at": result.stopped_at or "",
        "last_commit": result.last_commit or "",
        "phases": [asdict(phase) for phase in result.phases],
        "missing_segments": result.gaps,
        "salvaged_wal": result.salvaged_wal,
        "kept_old": str(result.kept_old or ""),
    }


def database(result: LogicalRestoreResult) -> dict[str, Any]:
    """A database that was brought back."""
    return {
        "backup": logical(result.backup),
        "database": result.database,
        "target_database": result.target,
        "as_of": result.as_of,
        "kept_old": result.kept_old or "",
        "created_roles": result.created_roles,
        "phases": [asdict(phase) for phase in result.phases],
    }


def point(made: PointResult) -> dict[str, Any]:
    """A restore point."""
    return {
        "name": made.name,
        "lsn": made.lsn,
        "timeline": made.timeline,
        "time": utc_text(made.time) if made.time else "",
        "segment": made.segment,
    }


def info(found: Info) -> dict[str, Any]:
    """A stanza at a glance."""
    return {
        "stanza": found.stanza,
        "repository": found.repository,
        "system_identifier": str(found.system_identifier) if found.system_identifier is not None else None,
        "major_version": found.major_version,
        "backups": [backup(header) for header in found.backups],
        "logical_backups": [logical(header) for header in found.logical],
        "windows": [asdict(window) for window in found.windows],
        "timelines": [asdict(timeline) for timeline in found.timelines],
        "incarnations": [{**asdict(life), "system_identifier": str(life.system_identifier)} for life in found.lives],
        "wal": {"first": found.wal_first, "last": found.wal_last, "segments": found.wal_segments},
        "dropped_wal": [asdict(gap) for gap in found.dropped],
    }
