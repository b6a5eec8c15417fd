# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server is where its backups are, or an older copy of the cluster, or on a branch that was left (I5)."""

from __future__ import annotations

from collections.abc import Iterable

from ...errors import IntegrityError
from ...postgres.wal_names import Lsn, format_lsn
from ...repository.manifest import Header
from ...repository.stanza import Incarnation


def require_present(life: Incarnation, headers: Iterable[Header], timeline: int, position: Lsn | None) -> None:
    """A backup of this server must be able to follow those of its life; a standby has no `position`: it may lag."""
    attempted = "checking whether this server can be backed up"
    own = [each for each in headers if each.incarnation == life.incarnation]
    ahead = [each for each in own if each.timeline == timeline and position is not None and each.stop_lsn > position]
    if ahead and position is not None:
        raise IntegrityError(
            attempted,
            f"its WAL has come as far as {format_lsn(position)}, but the backup {ahead[-1].backup_id} of the"
            f" same timeline ended at {format_lsn(ahead[-1].stop_lsn)}: this is an older copy of the cluster.",
            "Connect to the server that archives into this stanza, and give a clone a stanza of its own.",
            code="server_behind_its_backups",
        )
    later = [each for each in own if each.timeline > timeline]
    if later:
        raise IntegrityError(
            attempted,
            f"it is on timeline {timeline}, but the backup {later[-1].backup_id} is of timeline"
            f" {later[-1].timeline}: this is a former primary, a clone or a standby that was left behind.",
            "Connect to the cluster's present primary, or to a standby that follows it.",
            code="timeline_left_behind",
        )
