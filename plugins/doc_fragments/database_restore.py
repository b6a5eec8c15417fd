# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of a restore of one database from a dump."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation shared by modules."""

    DOCUMENTATION = r"""
options:
  database:
    description: With O(kind=logical), the database of the backup; needed where it holds several.
    type: str
  target_database:
    description: With O(kind=logical), the database to restore into. By default it has the name it had.
    type: str
  file:
    description:
      - With O(kind=logical), a dump that lies in a file instead of the repository, as somebody's script has made it. An
        SQL script or what C(pg_dump) wrote (custom, tar or directory), also compressed (gzip, zstd, bzip2, xz, lz4) and
        encrypted (C(gpg --symmetric), C(openssl enc -aes-256-cbc)). All this is recognised by content, not by name.
      - The user who owns the server's files must be able to read it. O(target_database) is needed; no repository is.
    type: path
  file_passphrase:
    description: What O(file) was encrypted with.
    type: str
  tables:
    description:
      - Bring back only these tables of an SQL dump in O(file), with their sequences, constraints, indexes and triggers.
      - Names are with their schema, or without it where only one table has the name.
    type: list
    elements: str
    default: []
  if_exists:
    description:
      - With O(kind=logical), what to do when the database to restore into exists. V(fail) refuses.
      - V(replace) restores beside it under another name, then swaps the two in a moment. The old one is kept, with
        C(_before_) and the time behind its name. Sessions in it are ended.
      - V(drop) drops it first, which needs no space for both; if the restore then fails, neither is there.
      - V(add) restores into it as it is.
    type: str
    choices: [fail, add, drop, replace]
    default: fail
  content:
    description: With O(kind=logical), whether to restore definitions, rows, or both.
    type: str
    choices: [all, schema, data]
    default: all
  no_owner:
    description: With O(kind=logical), let everything belong to the role that restores, instead of its former owners.
    type: bool
    default: false
  no_privileges:
    description: With O(kind=logical), leave granted privileges out.
    type: bool
    default: false
  missing_roles:
    description:
      - With O(kind=logical), what to do about owners and grantees that the server does not have. V(create) makes them
        as they were dumped with the database; V(fail) lets the restore fail at the first.
    type: str
    choices: [fail, create]
    default: fail
  disable_triggers:
    description: With O(kind=logical) and O(content=data), do not fire triggers, foreign keys included. For superusers.
    type: bool
    default: false
  single_transaction:
    description: With O(kind=logical), restore everything or nothing, in one transaction.
    type: bool
    default: false
"""
