# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What backups that have died leave behind, and what the next backup does with it."""

from __future__ import annotations

from collections.abc import Iterable

from ...repository import layout, pack_lists
from ...repository.intents import COMPLETE, Intent, Intents
from ...repository.stanza import Stanza


def resumable(stanza: Stanza, dead: Iterable[Intent], kind: tuple[str, str, str | None, str]) -> list[Intent]:
    """Dead backups of the very kind (incarnation, type, parent, method) that is made now.

    Of these all of the newest one's generation whose process is known to have ended: packs of one that only seems dead
    could be removed by itself.
    """
    dead = list(dead)
    used_up = {each for intent in dead if intent.resumes and stanza.exists(intent.backup_id) for each in intent.resumes}
    same = [
        intent
        for intent in dead
        if (intent.incarnation, intent.backup_type, intent.parent, intent.method) == kind
        and intent.holder.is_dead()
        and intent.backup_id not in used_up
        and not stanza.exists(intent.backup_id)
    ]
    return [intent for intent in same if intent.generation == same[-1].generation]


class Leftovers:
    """Removes what dead backups have left that nobody goes on from."""

    def __init__(self, stanza: Stanza, dead: Iterable[Intent]) -> None:
        self._stanza = stanza
        self._nobody_else = all(intent.holder.is_dead() for intent in dead)

    def discard(self, intent: Intent) -> None:
        """Settle the intent, and remove at once those packs that certainly nobody needs.

        Whatever is not certain is left to the collector, which takes its time. Certain it is when the processes of all
        other backups are known to have ended, and this one had not come near its manifest, so that none can appear.
        """
        stanza, intents = self._stanza, Intents(self._stanza)
        if stanza.exists(intent.backup_id):
            if intents.settle(intent.backup_id, COMPLETE) == COMPLETE:
                intents.remove(intent.backup_id)
            return
        given_up = intents.give_up(intent)
        if not given_up or not self._nobody_else:
            return
        if stanza.repository.store.size(layout.pack_list(stanza.name, intent.backup_id)) is not None:
            return
        leftover = stanza.packs_there(intent.generation, intent.pack_prefix)
        if leftover:
            same_generation = (each for each in stanza.all_headers() if each.generation == intent.generation)
            needed = {pack for header in same_generation for pack in pack_lists.needed(stanza, header)}
            for pack in sorted(leftover - needed):
                stanza.repository.store.delete(stanza.pack_name(intent.generation, pack))
