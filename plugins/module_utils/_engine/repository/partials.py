# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a receiver has shipped of segments that are not finished.

Each time one has grown, all that there is of it is stored anew and the older object goes. The name
tells how much it is. These are no archived WAL: nobody finds one under a segment's name, and
promotion's own `.partial` is another thing.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import IntegrityError
from . import layout
from .repository import Repository
from .stanza import Incarnation, Stanza

WAL_LEVEL = 3


@dataclass(frozen=True)
class Partial:
    """The beginning of a segment."""

    file_name: str
    length: int
    digest: str
    object_name: str
    stored_bytes: int


class Partials:
    """The shipped partials of one incarnation."""

    def __init__(self, stanza: Stanza, life: Incarnation) -> None:
        self._repository: Repository = stanza.repository
        self._stanza = stanza.name
        self._life = life
        self._folder = layout.partials_folder(stanza.name, life.incarnation)

    def there(self, timeline: int | None = None) -> list[Partial]:
        """All of them, or those of a timeline, in the order of their segments, the longest of each last."""
        prefix = self._folder if timeline is None else f"{self._folder}{timeline:08X}"
        found = []
        for info in self._repository.store.list(prefix):
            file_name, _dot, rest = info.name[len(self._folder) :].partition(".")
            length, _dash, digest = rest.partition("-")
            found.append(Partial(file_name, int(length, 16), digest, info.name, info.size))
        return sorted(found, key=lambda each: (each.file_name, each.length))

    def newest(self, timeline: int) -> Partial | None:
        """What a timeline's WAL ends with, as far as it was shipped."""
        there = self.there(timeline)
        if not there:
            return None
        last = there[-1]
        if any((each.file_name, each.length) == (last.file_name, last.length) for each in there[:-1]):
            raise IntegrityError(
                f"looking for the newest partial of timeline {timeline} of {self._stanza}",
                f"there are two of {last.file_name} with the same length and different contents.",
                "Two receivers ship into this stanza. Find the other one; never delete what is there.",
                code="wal_conflict",
                file=last.file_name,
            )
        return last

    def store(self, file_name: str, content: bytes) -> None:
        """Make the beginning of a segment durable, and let shorter ones of it go."""
        digest = self._repository.keys.content_digest(content)
        name = f"{self._folder}{file_name}.{len(content):08X}-{digest}"
        self._repository.put_content(name, self._identity(file_name, len(content)), content, WAL_LEVEL)
        for each in self.there(int(file_name[:8], 16)):
            if each.file_name == file_name and each.length < len(content):
                self._repository.store.delete(each.object_name)

    def fetch(self, partial: Partial) -> bytes:
        """The content, authenticated and checked; it ends where what was received ended."""
        name, identity = partial.object_name, self._identity(partial.file_name, partial.length)
        return b"".join(self._repository.read_content(name, identity, partial.stored_bytes, partial.digest))

    def remove_up_to(self, file_name: str) -> None:
        """Let go what is superseded: of this segment and earlier ones of its timeline, now that it is durable."""
        for each in self.there(int(file_name[:8], 16)):
            if each.file_name <= file_name:
                self._repository.store.delete(each.object_name)

    def _identity(self, file_name: str, length: int) -> str:
        return layout.identity("stanza", self._stanza, "partial", self._life.incarnation, file_name, str(length))
