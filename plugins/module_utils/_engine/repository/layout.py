# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are in a repository, and what identity each object is sealed under."""

from __future__ import annotations

import re

from ..errors import PreconditionError

REPOSITORY_DOCUMENT = "lifeboat-repository.json"
KEYS_FOLDER = "keys/"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")


def checked_name(kind: str, name: str) -> str:
    """A stanza's or backup's name as part of a path; anything else could climb out of its place."""
    if not _NAME.match(name):
        raise PreconditionError(
            f"using the {kind} {name!r}",
            "it is not a valid name.",
            "Use letters, digits, '_', '-' and '.', first a letter, digit or '_', at most 128.",
            code="name_invalid",
        )
    return name


def epoch_keys(epoch: int, revision: int) -> str:
    """A revision of an epoch's key document; the newest counts."""
    return f"{KEYS_FOLDER}{epoch:06d}-{revision:06d}.json"


def stanza_folder(stanza: str) -> str:
    """Everything of one cluster."""
    return f"stanzas/{checked_name('stanza', stanza)}/"


def incarnations_folder(stanza: str) -> str:
    """One sealed document per incarnation, numbered."""
    return f"{stanza_folder(stanza)}incarnations/"


def backups_folder(stanza: str) -> str:
    """One folder per backup."""
    return f"{stanza_folder(stanza)}backups/"


def manifest(stanza: str, backup_id: str) -> str:
    """The object whose existence makes a backup visible."""
    return f"{backups_folder(stanza)}{checked_name('backup', backup_id)}/manifest"


def pack_list(stanza: str, backup_id: str) -> str:
    """The list of packs that a backup needs."""
    return f"{backups_folder(stanza)}{checked_name('backup', backup_id)}/pack-list"


def intents_folder(stanza: str) -> str:
    """One folder per backup that runs or has died."""
    return f"{stanza_folder(stanza)}intents/"


def intent_folder(stanza: str, backup_id: str) -> str:
    """A running backup's intent and journal."""
    return f"{intents_folder(stanza)}{checked_name('backup', backup_id)}/"


def intent(stanza: str, backup_id: str) -> str:
    """What a backup is about to do."""
    return f"{intent_folder(stanza, backup_id)}intent"


def intent_alive(stanza: str, backup_id: str) -> str:
    """When a running backup was last seen."""
    return f"{intent_folder(stanza, backup_id)}alive"


def intent_verdict(stanza: str, backup_id: str) -> str:
    """Whether a backup became one, or was taken for dead before: whoever says it first has said it."""
    return f"{intent_folder(stanza, backup_id)}verdict"


def condemned_folder(stanza: str) -> str:
    """One object per mark: names of what nobody needed at a moment."""
    return f"{stanza_folder(stanza)}condemned/"


def generations_folder(stanza: str) -> str:
    """One folder per generation."""
    return f"{stanza_folder(stanza)}generations/"


def packs_folder(stanza: str, generation: str) -> str:
    """All packs of a generation."""
    return f"{generations_folder(stanza)}{checked_name('generation', generation)}/packs/"


def pack(stanza: str, generation: str, pack_id: str) -> str:
    """A pack of frames. Its generation is in the path, so locks and tiers can go by generation."""
    return f"{packs_folder(stanza, generation)}{pack_id}"


def all_wal_folder(stanza: str) -> str:
    """One folder per incarnation."""
    return f"{stanza_folder(stanza)}wal/"


def wal_folder(stanza: str, incarnation: str) -> str:
    """All archived WAL of an incarnation."""
    return f"{all_wal_folder(stanza)}{incarnation}/"


def gaps_folder(stanza: str, incarnation: str) -> str:
    """One sealed document for each run of WAL files that were given up, named after the first."""
    return f"{stanza_folder(stanza)}gaps/{incarnation}/"


def all_partials_folder(stanza: str) -> str:
    """What receivers have shipped of unfinished segments, a folder for each incarnation."""
    return f"{stanza_folder(stanza)}partials/"


def partials_folder(stanza: str, incarnation: str) -> str:
    """What a receiver has shipped of unfinished segments: `SEGMENT.LENGTH-DIGEST`, length in hexadecimal."""
    return f"{all_partials_folder(stanza)}{incarnation}/"


def wal_prefix(stanza: str, incarnation: str, file_name: str) -> str:
    """The start of the names under which `file_name` may be archived; the content's digest follows.

    Segments are spread over folders by timeline and the high half of their number, so that no
    folder grows past a few hundred names.
    """
    group = f"{file_name[:8]}/{file_name[8:16]}" if len(file_name) >= 24 else "history"
    return f"{wal_folder(stanza, incarnation)}{group}/{file_name}-"


def identity(*parts: str) -> str:
    """What an object is, as bound into its key."""
    return "/".join(parts)
