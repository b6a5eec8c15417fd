# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiver's replication slot: made, looked at, dropped.

A physical slot has the server keep WAL until the receiver has it, however long that takes. So it is
what makes receiving lossless, and what fills the server's disk when nobody receives: whoever
configures a slot also has to tell how much it holds, and to drop it when it is not wanted any more.
`max_slot_wal_keep_size` (13 and newer) limits that: beyond it the server gives the slot's WAL up.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import LifeboatError, PreconditionError
from .connection import Connection
from .wal_names import Lsn, parse_lsn

UNRESERVED, LOST = "unreserved", "lost"
_SQL_TAKEN, _SQL_FULL = "already exists", "all replication slots are in use"
_LOOK = """
SELECT slot_type, temporary, active_pid, restart_lsn::text, wal_status, safe_wal_size::bigint,
       pg_wal_lsn_diff(
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, restart_lsn
       )::bigint,
       (SELECT nullif(setting::bigint, -1) << 20 FROM pg_settings WHERE name = 'max_slot_wal_keep_size')
  FROM pg_replication_slots WHERE slot_name = %s
"""


@dataclass(frozen=True)
class Slot:
    """A replication slot as the server shows it."""

    name: str
    physical: bool
    temporary: bool
    active_pid: int | None  # the WAL sender that uses it
    restart_lsn: Lsn | None  # WAL from here on is kept; None: nothing is
    wal_status: str | None  # reserved, extended, unreserved or lost; None where nothing is kept
    safe_bytes: int | None  # how much may be written before it is in danger; None without a limit
    retained_bytes: int | None
    limit_bytes: int | None  # max_slot_wal_keep_size; None: no limit

    @property
    def lost(self) -> bool:
        """Whether the server has given up WAL that the receiver had not got; the slot is of no use any more."""
        return self.wal_status == LOST

    def warnings(self) -> list[str]:
        """What somebody should know before the slot is lost, or the server's disk is full."""
        kept = f"{(self.retained_bytes or 0) >> 20} MiB"
        if self.lost:
            text = (
                "is lost: more WAL than max_slot_wal_keep_size was waiting, and the server has removed what had not"
                " been received"
            )
        elif self.wal_status == UNRESERVED:
            text = (
                f"holds {kept} of WAL, more than max_slot_wal_keep_size: the server removes it at its next checkpoint"
                " unless the receiver catches up before"
            )
        elif self.limit_bytes and (self.retained_bytes or 0) > self.limit_bytes // 2:
            limit = f"{self.limit_bytes >> 20} MiB (max_slot_wal_keep_size)"
            text = f"holds {kept} of WAL; beyond {limit} the server gives it up"
        else:
            return []
        return [f"the replication slot {self.name} {text}"]


def look(connection: Connection, name: str) -> Slot | None:
    """The slot of this name; None when there is none."""
    rows = connection.rows("looking at the replication slot", _LOOK, name)
    if not rows:
        return None
    ((kind, temporary, pid, restart, status, safe, retained, limit),) = rows
    return Slot(
        name=name,
        physical=kind == "physical",
        temporary=bool(temporary),
        active_pid=pid,
        restart_lsn=parse_lsn(restart) if restart else None,
        wal_status=status,
        safe_bytes=safe,
        retained_bytes=max(0, retained) if retained is not None else None,
        limit_bytes=limit,
    )


def needs_making(slot: Slot | None, name: str) -> bool:
    """Whether the slot has to be made; refuses a name that something else has."""
    if slot is None:
        return True
    if not slot.physical or slot.temporary:
        raise PreconditionError(
            f"preparing the replication slot {name}",
            "the server has a logical or a temporary slot of this name.",
            "Give slot another name.",
            code="slot_of_another_kind",
        )
    return False


def ensure(connection: Connection, name: str, *, check_mode: bool = False) -> bool:
    """Make the slot unless it is there, holding WAL from this moment on; True when it had to be made.

    One that is lost stays as it is: only the receiver knows which WAL is missing, and makes it again.
    """
    if not needs_making(look(connection, name), name):
        return False
    if not check_mode:
        _create(connection, name)
    return True


def make_again(connection: Connection, name: str) -> None:
    """Replace a slot that is lost, or that has no WAL reserved, by one that holds WAL from this moment on."""
    drop(connection, name)
    _create(connection, name)


def wal_files(connection: Connection) -> list[str]:
    """The segments that the server still has; a role without pg_monitor may not ask."""
    query = "SELECT name FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'"
    return [name for (name,) in connection.rows("asking which WAL the server still has", query)]


def drop(connection: Connection, name: str, *, check_mode: bool = False) -> bool:
    """Remove the slot; False when there is none. One that is in use is refused: its receiver has to end first."""
    attempted = f"dropping the replication slot {name}"
    slot = look(connection, name)
    if slot is None:
        return False
    if not slot.physical:
        raise PreconditionError(
            attempted,
            "it is a logical slot, so none of ours.",
            "Give slot the name of the receiver's, or drop it by hand.",
            code="slot_of_another_kind",
        )
    if slot.active_pid is not None:
        raise PreconditionError(
            attempted,
            f"it is in use by the WAL sender with the process id {slot.active_pid}.",
            "Stop the receiver first (lifeboat receive, or its systemd unit), wherever it runs.",
            code="slot_in_use",
        )
    if not check_mode:
        connection.rows(attempted, "SELECT pg_drop_replication_slot(%s)", name)
    return True


def _create(connection: Connection, name: str) -> None:
    attempted = f"making the replication slot {name}"
    try:
        connection.rows(attempted, "SELECT pg_create_physical_replication_slot(%s, true)", name)
    except PreconditionError as exc:
        if _SQL_TAKEN in exc.happened and not needs_making(look(connection, name), name):
            return  # somebody was faster
        raise _explained(attempted, exc) from exc


def _explained(attempted: str, exc: LifeboatError) -> LifeboatError:
    if _SQL_FULL in exc.happened:
        return PreconditionError(
            attempted,
            "all of the server's slots are in use.",
            "Raise max_replication_slots (needs a restart), or drop a slot that nobody uses: see pg_replication_slots.",
            code="slots_exhausted",
        )
    if exc.code == "role_lacks_privilege":
        return PreconditionError(
            attempted, exc.happened, "Run: ALTER ROLE <the role> REPLICATION.", code="role_lacks_privilege"
        )
    return exc
