# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which backups a damaged object affects: others than the one that was read may need it too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from ...errors import LifeboatError
from ...repository import layout, pack_lists
from ...repository.manifest import AnyHeader, Header
from ...repository.stanza import Stanza
from ..restore.choose import needed_segments


def affected(stanza: Stanza, damaged: Iterable[str]) -> list[str]:
    """The backups that need one of these objects, oldest first. One that cannot be read is not judged here."""
    wanted = set(damaged)
    found = []
    for backup_id in stanza.backup_ids():
        own = {layout.manifest(stanza.name, backup_id), layout.pack_list(stanza.name, backup_id)}
        if own & wanted:
            found.append(backup_id)
            continue
        with contextlib.suppress(LifeboatError):
            header = stanza.any_header(backup_id)
            if _needs(stanza, header, wanted):
                found.append(backup_id)
    return found


def _needs(stanza: Stanza, header: AnyHeader, damaged: set[str]) -> bool:
    generation = layout.packs_folder(stanza.name, header.generation)
    packs = {name[len(generation) :] for name in damaged if name.startswith(generation)}
    if packs and packs & pack_lists.needed(stanza, header):
        return True
    if not isinstance(header, Header):
        return False
    prefixes = [layout.wal_prefix(stanza.name, header.incarnation, each.name) for each in needed_segments(header)]
    return any(name.startswith(prefix) for name in damaged for prefix in prefixes)
