# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packs a backup needs, in one small object beside its manifest.

Whoever collects garbage needs to know this of every backup each time. The manifest says the same,
in its lines and in the block maps that they lead to, but reading all that of hundreds of backups
takes hours where the lists take seconds. A list is written before its manifest appears and removed
after it, so where it is missing beside a manifest, the backup is of an older Lifeboat.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..errors import IntegrityError
from . import layout
from .manifest import AnyHeader, FileEntry
from .map_changes import StoredMap
from .packs import PACK_ID_BYTES, PackReader
from .stanza import Stanza


def _identity(stanza: Stanza, backup_id: str) -> str:
    return layout.identity("stanza", stanza.name, "backup", backup_id, "pack-list")


def write(stanza: Stanza, backup_id: str, packs: Iterable[str]) -> None:
    """Write a backup's list."""
    with stanza.repository.store.writer(layout.pack_list(stanza.name, backup_id)) as writer:
        stream = stanza.repository.stream_writer(writer, "metadata", _identity(stanza, backup_id))
        stream.write(packed(packs))
        stream.finish()
        writer.commit()


def listed(stanza: Stanza, backup_id: str) -> set[str]:
    """What a backup's list says."""
    name = layout.pack_list(stanza.name, backup_id)
    ids = b"".join(stanza.repository.read_stream(name, "metadata", _identity(stanza, backup_id)))
    return set(unpacked(ids))


def packed(packs: Iterable[str]) -> bytes:
    """Ids as they stand in a list, sorted: of hundreds of large backups they fit into memory only like this."""
    return b"".join(bytes.fromhex(pack_id) for pack_id in sorted(packs))


def unpacked(ids: bytes) -> Iterator[str]:
    """The reverse."""
    return (ids[start : start + PACK_ID_BYTES].hex() for start in range(0, len(ids), PACK_ID_BYTES))


def needed(stanza: Stanza, header: AnyHeader) -> set[str]:
    """The packs of its generation that a backup needs."""
    try:
        return listed(stanza, header.backup_id)
    except IntegrityError as error:
        # Missing, or damaged: the manifest knows it all the same.
        if error.code not in ("object_missing", "object_damaged", "object_truncated"):
            raise
        return named_by_manifest(stanza, header)


def named_by_manifest(stanza: Stanza, header: AnyHeader) -> set[str]:
    """The same, the long way: every line of the manifest and, where a line does not say it, every block map."""
    repository = stanza.repository
    maps = PackReader(
        repository.store,
        repository.keys_of,
        "metadata",
        lambda pack_id: stanza.pack_name(header.generation, pack_id),
    )
    found: set[str] = set()
    for entry in stanza.entries(header.backup_id):
        if not isinstance(entry, FileEntry):
            continue
        known = entry.needed_packs()
        if known is None:
            known = {*entry.packs(), *StoredMap.load(entry, maps.read).packs()}
        found |= known
    return found
