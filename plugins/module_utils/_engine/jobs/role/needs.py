# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each kind of backup needs of a server, found by taking each of it away and seeing the backup fail."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PHYSICAL, STREAM, LOGICAL, RESTORE_POINT = "physical", "stream", "logical", "restore_point"
KINDS = (PHYSICAL, STREAM, LOGICAL, RESTORE_POINT)

# Where the server's files are is for those only who may read all settings.
_SETTINGS = "pg_read_all_settings"
_READ_ALL = "pg_read_all_data"  # from 14


@dataclass(frozen=True)
class Needs:
    """The attributes, memberships and functions that a role must have, and how it reads."""

    attributes: dict[str, bool]
    memberships: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    dumps: bool = False
    table_by_table: bool = False

    @property
    def speaks_sql(self) -> bool:
        """Whether the role must be let into the database that the work is done through."""
        return self.dumps or bool(self.functions)


def needs(kinds: Sequence[str], databases: Sequence[str] | None, major: int) -> Needs:
    """What the kinds need together; `databases` are those to dump, all of them where none are named.

    A dump reads rows whatever policies say (BYPASSRLS), or it would be refused for the first table that has one.
    """
    files = ("pg_backup_start(text,boolean)", "pg_backup_stop(boolean)")
    if major < 15:
        files = ("pg_start_backup(text,boolean,boolean)", "pg_stop_backup(boolean,boolean)")
    functions = ["pg_control_system()"] if PHYSICAL in kinds or RESTORE_POINT in kinds else []
    functions += files if PHYSICAL in kinds else ()
    functions += ("pg_create_restore_point(text)", "pg_switch_wal()") if RESTORE_POINT in kinds else ()
    table_by_table = LOGICAL in kinds and (major < 14 or databases is not None)
    memberships = [_SETTINGS] if functions else []
    memberships += [_READ_ALL] if LOGICAL in kinds and not table_by_table else []
    attributes = {
        "SUPERUSER": False,
        "CREATEDB": False,
        "CREATEROLE": False,
        "INHERIT": True,
        "LOGIN": True,
        "REPLICATION": STREAM in kinds,
        "BYPASSRLS": LOGICAL in kinds,
    }
    return Needs(attributes, tuple(memberships), tuple(functions), LOGICAL in kinds, table_by_table)
