# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stanza holds, and what of it nobody needs.

The order in which things are looked at is what makes this right although others write meanwhile:
marks first, then what may be garbage, then intents, then manifests. Whatever was there to be seen
as garbage was under the protection of an intent, or of a manifest, or of none; an intent that is gone
by now has either become a manifest, which is looked at after it, or was removed as dead.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ...clock import Clock, parse_utc
from ...errors import PreconditionError
from ...repository import layout, pack_lists
from ...repository.condemned import Condemned, Mark
from ...repository.intents import DEAD, Intent, Intents
from ...repository.manifest import AnyHeader, Header
from ...repository.pack_lists import unpacked
from ...repository.stanza import Stanza
from ...repository.wal import WalArchive
from ..restore.choose import life_of, needed_segments

# For so long a dead backup may be gone on from.
RESUMABLE = timedelta(days=3)
# For so long is remembered that a backup was given up whose process may only have been paused.
_REMEMBERED = timedelta(days=60)
_PACK = re.compile(r"generations/(?P<generation>[^/]+)/packs/(?P<pack>[0-9a-f]{32})\Z")
_PACK_LIST = re.compile(r"backups/(?P<backup>[^/]+)/pack-list\Z")
_BESIDE_INTENT = re.compile(r"intents/(?P<backup>[^/]+)/(alive|verdict|journal/\d+)\Z")


@dataclass(frozen=True)
class Survey:
    """A stanza at a moment. Names of objects are those below the stanza's folder."""

    now: datetime
    marks: list[Mark]
    objects: Mapping[str, int]  # sizes by name
    intents: list[Intent]  # without those that were given up
    given_up: list[Intent]
    void: list[str]  # backups that became visible after they had been given up: they will take themselves back
    headers: list[AnyHeader]  # of all other backups
    needed: Mapping[str, bytes]  # packs, by backup, as lists of packs have them
    broken: Mapping[str, str]  # backups that cannot be restored, and why

    @property
    def physical(self) -> list[Header]:
        """The backups that need WAL."""
        return [header for header in self.headers if isinstance(header, Header)]

    def finished_intents(self) -> dict[str, str]:
        """Intents that protect nothing any more, by backup, each with the reason."""
        alive = [intent for intent in self.intents if intent.is_alive(self.now)]
        in_use = {intent.generation for intent in alive}
        visible = {header.backup_id for header in self.headers}
        found = {}
        for intent in self.intents:
            if intent in alive or intent.generation in in_use:
                continue
            if intent.backup_id in visible:
                found[intent.backup_id] = "its backup is complete"
            elif self.now - parse_utc(intent.refreshed) >= RESUMABLE:
                found[intent.backup_id] = f"it has died, and nobody went on from it in {RESUMABLE.days} days"
        for intent in self.given_up:
            if intent.backup_id not in self.void and self.now - parse_utc(intent.refreshed) >= _REMEMBERED:
                found[intent.backup_id] = f"it was given up, and has not come back in {_REMEMBERED.days} days"
        return found

    def garbage(self, *, without: Collection[str] = (), finished: Collection[str] = ()) -> dict[str, str]:
        """Objects that nobody needs, each with the reason, as if some backups and intents were gone already.

        WAL is another matter, and what a later version may have put here is left alone.
        """
        kept = [header for header in self.headers if header.backup_id not in without]
        visible = {header.backup_id for header in kept}
        intents = [intent for intent in self.intents if intent.backup_id not in finished]
        declared = {intent.backup_id for intent in [*intents, *self.given_up]}
        protected = {intent.generation for intent in intents}
        live = {(header.generation, pack) for header in kept for pack in unpacked(self.needed[header.backup_id])}
        removed = set(finished)  # with all that lies beside them
        found = {}
        for name in self.objects:
            pack, pack_list, beside = _PACK.match(name), _PACK_LIST.match(name), _BESIDE_INTENT.match(name)
            if pack and pack["generation"] not in protected and pack.groups() not in live:
                found[name] = "no backup needs it"
            elif pack_list and pack_list["backup"] not in visible | {intent.backup_id for intent in intents}:
                found[name] = "its backup is gone"
            elif beside and beside["backup"] not in declared | removed:
                found[name] = "its intent is gone"
        return found

    def wal_of(self, incarnation: str) -> dict[str, list[str]]:
        """Archived files of an incarnation: for each name the objects that hold it, of which there should be one."""
        return self._by_file(f"wal/{incarnation}/", "-")

    def partials_of(self, incarnation: str) -> dict[str, list[str]]:
        """What receivers have shipped of unfinished segments of an incarnation: for each of them the objects."""
        return self._by_file(f"partials/{incarnation}/", ".")

    def _by_file(self, folder: str, behind_the_file: str) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.objects:
            if name.startswith(folder):
                found.setdefault(name.rpartition("/")[2].partition(behind_the_file)[0], []).append(name)
        return found


class Surveyor:
    """Looks at a stanza, as often as it takes; what can never change is read once."""

    def __init__(self, stanza: Stanza, clock: Clock) -> None:
        self._stanza = stanza
        self._clock = clock
        self._needed: dict[str, bytes] = {}

    def look(self) -> Survey:
        """What is there now."""
        stanza, objects = self._stanza, {}
        now = self._clock.now()
        marks = Condemned(stanza).all()
        root = layout.stanza_folder(stanza.name)
        for folder in (
            layout.generations_folder(stanza.name),
            layout.all_partials_folder(stanza.name),
            layout.all_wal_folder(stanza.name),
            layout.backups_folder(stanza.name),
            layout.intents_folder(stanza.name),
        ):
            objects.update({info.name[len(root) :]: info.size for info in stanza.repository.store.list(folder)})
        everybody = Intents(stanza).all()
        intents = [intent for intent in everybody if intent.verdict != DEAD]
        given_up = [intent for intent in everybody if intent.verdict == DEAD]
        dead = {intent.backup_id for intent in given_up}
        headers = [header for header in stanza.all_headers() if header.backup_id not in dead]
        void = [backup_id for backup_id in dead if stanza.exists(backup_id)]
        headers = [header for header in headers if self._knows_needs_of(header)]
        seen = Survey(now, marks, objects, intents, given_up, void, headers, self._needed, {})
        lives = {header.incarnation for header in seen.physical}
        archived = {incarnation: seen.wal_of(incarnation) for incarnation in lives}
        suspects = ((header, self._missing(seen, header, archived)) for header in headers)
        broken = {header.backup_id: missing for header, missing in suspects if missing}
        return replace(seen, broken=broken)

    def _missing(self, seen: Survey, header: AnyHeader, archived: Mapping[str, Collection[str]]) -> str:
        """What a backup lacks; looked for once more, because it may have come after the list was made."""
        stanza, folder = self._stanza, f"generations/{header.generation}/packs/"
        packs = {pack for pack in unpacked(self._needed[header.backup_id]) if folder + pack not in seen.objects}
        if packs:
            packs -= stanza.packs_there(header.generation)
        segments = self._missing_wal(header, archived[header.incarnation]) if isinstance(header, Header) else []
        if not stanza.exists(header.backup_id):
            return ""
        lacks = [("packs", min(packs), len(packs))] if packs else []
        lacks += [("WAL segments", segments[0], len(segments))] if segments else []
        return "; ".join(f"{count} {kind} that it needs are missing, such as {one}" for kind, one, count in lacks)

    def _missing_wal(self, header: Header, archived: Collection[str]) -> list[str]:
        segments = [segment.name for segment in needed_segments(header) if segment.name not in archived]
        if not segments:
            return []
        archive = WalArchive(self._stanza, life_of(self._stanza, header))
        return [name for name in segments if archive.find(name) is None]

    def _knows_needs_of(self, header: AnyHeader) -> bool:
        """False when the backup has gone since it was listed."""
        if header.backup_id not in self._needed:
            try:
                self._needed[header.backup_id] = pack_lists.packed(pack_lists.needed(self._stanza, header))
            except PreconditionError:
                if self._stanza.exists(header.backup_id):
                    raise
                return False
        return True
