# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tablespaces that the original cluster has made since the backup.

WAL behind the backup may hold their CREATE TABLESPACE, with their literal paths: replayed on the
original's machine it would write into the original's files. That a target lies before them in
time proves nothing: recovery stops at a commit, and replays everything in front of it.
"""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import PreconditionError
from ...postgres.data_directory import TABLESPACES
from ...repository.manifest import Header


def made_since(original: Path | None, header: Header, replaced: Path | None) -> list[str]:
    """Where they are; none when the original is what is being replaced, or nothing is known of an original here."""
    if original is None:
        return []
    try:
        if replaced is not None and replaced.exists() and os.path.samefile(original, replaced):
            return []
        links = [link for link in (original / TABLESPACES).iterdir() if link.is_symlink()]
    except OSError:
        return []  # there is no such cluster on this machine
    return sorted(os.readlink(link) for link in links if link.name not in header.tablespaces)


def require_none(original: Path | None, header: Header, replaced: Path | None = None, why: str = "") -> None:
    """Refuse what might replay their making without protection."""
    places = made_since(original, header, replaced)
    if places:
        raise PreconditionError(
            f"recovering from backup {header.backup_id} beside {original}",
            f"that cluster has made a tablespace at {places[0]} since the backup; replaying this would write into its"
            f" very files{why}.",
            "Make a new backup and recover from that one, or restore on another machine. Nothing was touched.",
            code="tablespace_newer_than_backup",
            tablespaces=places,
        )
