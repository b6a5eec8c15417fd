# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that say how far to recover."""

from __future__ import annotations


class ModuleDocFragment:
    """One target at most; none means everything that was archived."""

    DOCUMENTATION = r"""
options:
  target_time:
    description:
      - The point in time to recover to. It must say which instant it means, by its offset or its zone, in ISO 8601 such
        as V(2026-11-21T14:30:00+01:00), V(2026-11-21T13:30:00Z) or V(2026-11-21 14:30 Europe/Berlin), or by how long
        ago it was, such as V(2 hours ago).
      - An hour that a zone's clocks show twice, or never, is refused with the two instants that may be meant.
      - Recovery shows the transactions that were committed until then, in the order of the WAL.
      - Without any target everything that was archived is replayed.
    type: str
  target_lsn:
    description: The WAL location to recover to, such as V(0/16B3748); the record at or behind it is the last one.
    type: str
  target_xid:
    description: The transaction whose end is the last thing to be replayed. Others that ended before it are there too.
    type: str
  target_name:
    description: The restore point to recover to, as M(lifeboat.postgresql.pg_restore_point) makes them.
    type: str
  target_immediate:
    description: Whether to stop as soon as the backup is consistent, at its end.
    type: bool
    default: false
  target_inclusive:
    description: Whether the very transaction or record of a time, location or transaction is replayed too.
    type: bool
    default: true
  target_timeline:
    description:
      - Along which timeline to recover. V(latest) is the newest one in the archive, V(current) the backup's own.
      - A timeline begins whenever a recovered or promoted server is opened. Give the number of an older one to reach
        what was abandoned then.
    type: str
    default: latest
"""
