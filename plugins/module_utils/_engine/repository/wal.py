# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archived WAL of one incarnation.

A file is stored under its name and the keyed digest of its content. The same file twice is the
same object; another content under the same name shows as a second name, before and after the
write, whoever races.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import IntegrityError
from . import layout
from .partials import WAL_LEVEL, Partials
from .records import record
from .repository import Repository
from .stanza import Incarnation, Stanza


@dataclass(frozen=True)
class ArchivedFile:
    """One WAL, history or backup-history file in the archive."""

    file_name: str
    digest: str
    object_name: str
    stored_bytes: int


@dataclass(frozen=True)
class RecordedGap:
    """WAL files that were given up by the user's policy because the repository did not take them."""

    files: list[str]
    since: str
    until: str
    reason: str
    policy: str


class WalArchive:
    """Stores and fetches WAL files."""

    def __init__(self, stanza: Stanza, life: Incarnation) -> None:
        self._repository: Repository = stanza.repository
        self._stanza = stanza
        self.life = life
        self.partials = Partials(stanza, life)

    def require_in_place(self) -> None:
        """Refuse a repository that has vanished since it was opened."""
        self._repository.require_in_place()

    def find(self, file_name: str) -> ArchivedFile | None:
        """The archived file of this name. Two contents under one name are an error, not a choice."""
        found = self._stored(layout.wal_prefix(self._stanza.name, self.life.incarnation, file_name))
        copies = [archived for archived in found if archived.file_name == file_name]
        if len(copies) > 1:
            raise self._conflict(file_name)
        return copies[0] if copies else None

    def beside(self, file_name: str) -> dict[str, ArchivedFile]:
        """All that is archived in a file's folder, hundreds at most, for the price of one; `find` for those of which
        there are two contents.
        """
        found: dict[str, list[ArchivedFile]] = {}
        prefix = layout.wal_prefix(self._stanza.name, self.life.incarnation, file_name)
        for archived in self._stored(prefix[: prefix.rindex("/") + 1]):
            found.setdefault(archived.file_name, []).append(archived)
        return {name: copies[0] for name, copies in found.items() if len(copies) == 1}

    def store(self, file_name: str, content: bytes | memoryview) -> bool:
        """Make a file durable in the archive. False when this very content was there already."""
        digest = self._repository.keys.content_digest(content)
        present = self.find(file_name)
        if present is not None:
            if present.digest != digest:
                raise self._conflict(file_name)
            return False
        name = layout.wal_prefix(self._stanza.name, self.life.incarnation, file_name) + digest
        self._repository.put_content(name, self._identity(file_name), content, WAL_LEVEL)
        self.find(file_name)  # raises when another content came at the same time
        return True

    def fetch(self, archived: ArchivedFile) -> bytes:
        """A file's content, all of it; of a segment that can be a gibibyte."""
        return b"".join(self.pieces(archived))

    def pieces(self, archived: ArchivedFile) -> Iterator[bytes]:
        """A file's content, authenticated piece by piece: only who comes to the end has the file."""
        identity = self._identity(archived.file_name)
        return self._repository.read_content(archived.object_name, identity, archived.stored_bytes, archived.digest)

    def has_content(self, archived: ArchivedFile, content: bytes | memoryview) -> bool:
        """Whether this is what was archived."""
        return self._repository.keys.content_digest(content) == archived.digest

    def record_gap(self, file_names: list[str], since: str, until: str, reason: str, policy: str) -> None:
        """Note WAL files that were given up and will never come."""
        first = file_names[0]
        document = {"files": file_names, "since": since, "until": until, "reason": reason, "policy": policy}
        name = f"{layout.gaps_folder(self._stanza.name, self.life.incarnation)}{first}"
        self._repository.put_document(name, self._gap_identity(first), document)

    def recorded_gaps(self) -> list[RecordedGap]:
        """WAL that was given up, oldest first."""
        folder = layout.gaps_folder(self._stanza.name, self.life.incarnation)
        found = []
        for info in self._repository.store.list(folder):
            document = self._repository.get_document(info.name, self._gap_identity(info.name[len(folder) :]))
            found.append(record(RecordedGap, document))
        return found

    def segments(self, timeline: int, first: str = "") -> Iterator[ArchivedFile]:
        """Archived segments of a timeline in order, from `first` on."""
        prefix = f"{layout.wal_folder(self._stanza.name, self.life.incarnation)}{timeline:08X}/"
        for archived in self._stored(prefix):
            if len(archived.file_name) == 24 and archived.file_name >= first:
                yield archived

    def histories(self) -> Iterator[ArchivedFile]:
        """Archived timeline history files."""
        yield from self._stored(f"{layout.wal_folder(self._stanza.name, self.life.incarnation)}history/")

    def timelines(self) -> list[int]:
        """Timelines that have archived segments."""
        folder = layout.wal_folder(self._stanza.name, self.life.incarnation)
        groups = {info.name[len(folder) :].partition("/")[0] for info in self._repository.store.list(folder)}
        return sorted(int(group, 16) for group in groups if group != "history")

    def _stored(self, prefix: str) -> Iterator[ArchivedFile]:
        for info in self._repository.store.list(prefix):
            file_name, _dash, digest = info.name.rpartition("/")[2].rpartition("-")
            yield ArchivedFile(file_name, digest, info.name, info.size)

    def _gap_identity(self, first: str) -> str:
        return layout.identity("stanza", self._stanza.name, "gap", self.life.incarnation, first)

    def _identity(self, file_name: str) -> str:
        return layout.identity("stanza", self._stanza.name, "wal", self.life.incarnation, file_name)

    def _conflict(self, file_name: str) -> IntegrityError:
        return IntegrityError(
            f"archiving {file_name} of {self._stanza.name} in {self._repository.store.url}",
            "the archive holds a file of this name with a different content.",
            "Another server archives into this stanza, or this cluster was restored or promoted without claiming"
            " a timeline of its own. Find the other server; never delete the archived file.",
            code="wal_conflict",
            file=file_name,
        )
