# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A block map as it is stored: whole, or as changes to one that an earlier backup has stored whole.

A map has a digest of every page, so a gigabyte's takes two megabytes that nothing compresses.
Storing it anew for a few changed pages would make an incremental grow with the database. Changes are
always to a whole map, never to changes: whoever reads needs two objects at most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .block_map import DIGEST_BYTES, BlockMap, Changes, changed_pages, page_digests, put_digests, replaced
from .manifest import FileEntry
from .map_format import parse, parse_changes
from .packs import PlacedFrame

# More than this part of a map's digests, and the map is stored whole again.
_WORTH_IT = 4


@dataclass(frozen=True)
class StoredMap:
    """A file's map, and the one that is stored whole: the same, unless there are changes to it."""

    now: BlockMap
    whole: BlockMap

    def packs(self) -> set[str]:
        """The packs it needs."""
        return self.now.places.packs() | self.whole.places.packs()

    @classmethod
    def load(cls, entry: FileEntry, read: Callable[[PlacedFrame], bytes]) -> StoredMap:
        """The map of a file that has one."""
        whole = parse(b"".join(map(read, entry.block_map)))
        if not entry.map_changes:
            return cls(whole, whole)
        return cls(changed(whole, parse_changes(b"".join(map(read, entry.map_changes)))), whole)


def changed(whole: BlockMap, changes: Changes) -> BlockMap:
    """The map that a whole one and changes to it make."""
    digests = bytearray(changes.file_pages * DIGEST_BYTES)
    kept = whole.digests[: len(digests)]
    digests[: len(kept)] = kept
    put_digests(digests, changes.pages, changes.digests)
    return BlockMap(bytes(digests), replaced(whole.places, changes.file_pages, changes.pages, changes.places))


def changes_to(whole: BlockMap, now: BlockMap) -> Changes | None:
    """What makes one map the other, or None when it is so much that the whole map had better be stored."""
    pages = changed_pages(now.digests, whole.digests)
    if _WORTH_IT * len(pages) > now.pages:
        return None
    return Changes(now.pages, pages, page_digests(now.digests, pages), now.places.of(pages))
