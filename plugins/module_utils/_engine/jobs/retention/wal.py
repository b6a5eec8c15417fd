# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archived WAL that no kept backup needs, incarnation by incarnation; and what was shipped of unfinished segments.

The beginning of a segment is needed where the segment would be, and no longer than until that is archived.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta

from ...errors import IntegrityError
from ...postgres.timelines import Fork, parse_history
from ...postgres.wal_names import timeline_of
from ...repository.manifest import Header
from ...repository.stanza import Incarnation, Stanza
from ...repository.wal import WalArchive
from ...retention_policy import Policy
from .elsewhere import Backups
from .plan import newest_before
from .survey import Survey
from .wal_need import Histories, WalNeed


def unneeded_wal(
    stanza: Stanza,
    seen: Survey,
    policy: Policy,
    *,
    elsewhere: Callable[[], Backups | None],
    without: Collection[str] = (),
    finished: Collection[str] = (),
) -> dict[str, str]:
    """Objects, each with the reason, as if the backups `without` and the intents `finished` were gone.

    In a repository without a backup those that are `elsewhere` count.
    """
    if not seen.physical:
        return _unneeded_elsewhere(stanza, seen, elsewhere())
    kept = [header for header in seen.physical if header.backup_id not in without]
    to_any_point, to_their_end = _divided(kept, seen, policy)
    protected = {intent.incarnation for intent in seen.intents if intent.backup_id not in finished}
    lives = stanza.incarnations()
    found = {}
    for life in lives:
        # Nobody can say yet where the WAL of a backup that is being made begins.
        if life.incarnation in protected:
            continue
        own = [header for header in kept if header.incarnation == life.incarnation]
        if not own and life == lives[-1]:
            continue  # there will be a first backup
        need = WalNeed(
            [header for header in own if header in to_any_point],
            [header for header in own if header in to_their_end],
            _histories(stanza, life, seen.wal_of(life.incarnation)),
            life.wal_segment_bytes,
        )
        found.update(_unneeded(need, seen, life, life != lives[-1], "no kept backup needs this WAL"))
    return found


def _unneeded_elsewhere(stanza: Stanza, seen: Survey, backups: Backups | None) -> dict[str, str]:
    if backups is None or not backups.headers:
        return {}
    protected = {*backups.in_work, *(intent.incarnation for intent in seen.intents)}
    lives = stanza.incarnations()
    found = {}
    for life in lives:
        own = [header for header in backups.headers if header.incarnation == life.incarnation]
        if life.incarnation in protected or (not own and life == lives[-1]):
            continue
        need = WalNeed(own, [], _histories(stanza, life, seen.wal_of(life.incarnation)), life.wal_segment_bytes)
        found.update(_unneeded(need, seen, life, life != lives[-1], "no backup elsewhere needs this WAL"))
    return found


def _unneeded(need: WalNeed, seen: Survey, life: Incarnation, is_over: bool, reason: str) -> dict[str, str]:
    files, partials = seen.wal_of(life.incarnation), seen.partials_of(life.incarnation)
    found = {name: "this segment is archived" for file in partials.keys() & files.keys() for name in partials[file]}
    for file in need.unneeded({*files, *partials}, is_over=is_over):
        found.update(dict.fromkeys((*files.get(file, ()), *partials.get(file, ())), reason))
    return found


def _divided(kept: list[Header], seen: Survey, policy: Policy) -> tuple[list[Header], list[Header]]:
    """Backups from which every later point can be reached, and those that stand for their own end only."""
    if policy.keep_wal_days is None:
        return kept, []
    good = [header for header in kept if header.backup_id not in seen.broken]
    first = newest_before(good, seen.now - timedelta(days=policy.keep_wal_days))
    if first is None:
        return kept, []
    before = [header for header in kept if header.stop_time < first.stop_time]
    return [header for header in kept if header not in before], before


def _histories(stanza: Stanza, life: Incarnation, objects: Collection[str]) -> Histories:
    archive = WalArchive(stanza, life)
    found: dict[int, list[Fork] | None] = {}
    for file_name in objects:
        if file_name.endswith(".history"):
            found[timeline_of(file_name)] = _history(archive, file_name)
    return found


def _history(archive: WalArchive, file_name: str) -> list[Fork] | None:
    """Where a timeline came from; None when that cannot be known, and then more is kept."""
    try:
        archived = archive.find(file_name)
        return parse_history(file_name, archive.fetch(archived)) if archived else None
    except IntegrityError:
        return None
