# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stanza: one cluster's place in a repository, with its incarnations and backups.

An incarnation is one life of the cluster: a system identifier, a major version and a random id.
`pg_upgrade` begins a new one. WAL is kept per incarnation, so lives never mix.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

from ..clock import Clock, utc_text
from ..errors import IntegrityError, PreconditionError
from . import layout, manifest
from .records import record
from .repository import Repository
from .sealed import damaged


@dataclass(frozen=True)
class Incarnation:
    """One life of a cluster."""

    number: int
    incarnation: str
    system_identifier: int
    major_version: int
    wal_segment_bytes: int
    created: str


class Stanza:
    """Reads and writes one cluster's part of a repository."""

    def __init__(self, repository: Repository, name: str) -> None:
        self.repository = repository
        self.name = layout.checked_name("stanza", name)

    # --- incarnations

    def incarnations(self) -> list[Incarnation]:
        """All lives, oldest first."""
        found = []
        for info in self.repository.store.list(layout.incarnations_folder(self.name)):
            document = self.repository.get_document(info.name, self._incarnation_identity(info.name))
            found.append(record(Incarnation, document))
        return found

    def current(self) -> Incarnation | None:
        """The life that archives now."""
        lives = self.incarnations()
        return lives[-1] if lives else None

    def life(self, incarnation: str) -> Incarnation:
        """One life by its id."""
        for life in self.incarnations():
            if life.incarnation == incarnation:
                return life
        raise IntegrityError(
            f"looking for the incarnation {incarnation} of {self.name} in {self.repository.store.url}",
            "there is none.",
            "Restore the stanza's incarnation documents from another copy of the repository.",
            code="incarnation_missing",
        )

    def register(
        self,
        system_identifier: int,
        major_version: int,
        segment_bytes: int,
        clock: Clock,
        incarnation: str | None = None,
    ) -> Incarnation:
        """Begin the stanza's first life; another cluster's stanza is refused (I5).

        The life gets an id of its own, unless it has one in another repository already.
        """
        current = self.current()
        if current is not None:
            self.require_same_cluster(current, system_identifier, major_version)
            return current
        made = self._begin(1, system_identifier, major_version, segment_bytes, clock, incarnation)
        # a lost race: check theirs
        return made or self.register(system_identifier, major_version, segment_bytes, clock, incarnation)

    def begin_another(
        self,
        system_identifier: int,
        major_version: int,
        segment_bytes: int,
        clock: Clock,
        incarnation: str | None = None,
    ) -> Incarnation:
        """Begin a new life after those there are: somebody has said that this is the same cluster, reborn."""
        while True:
            lives = self.incarnations()
            number = lives[-1].number + 1 if lives else 1
            made = self._begin(number, system_identifier, major_version, segment_bytes, clock, incarnation)
            if made is not None:
                return made

    def _begin(
        self,
        number: int,
        system_identifier: int,
        major_version: int,
        segment_bytes: int,
        clock: Clock,
        incarnation: str | None,
    ) -> Incarnation | None:
        life = Incarnation(
            number,
            incarnation or secrets.token_hex(8),
            system_identifier,
            major_version,
            segment_bytes,
            utc_text(clock.now()),
        )
        name = f"{layout.incarnations_folder(self.name)}{number:06d}"
        written = self.repository.put_document(name, self._incarnation_identity(name), asdict(life), if_absent=True)
        return life if written else None

    def require_same_cluster(self, life: Incarnation, system_identifier: int, major_version: int) -> None:
        """Refuse a cluster that is not the one this stanza belongs to."""
        if life.system_identifier == system_identifier and life.major_version == major_version:
            return
        raise IntegrityError(
            f"using the stanza {self.name} of {self.repository.store.url}",
            f"it belongs to the cluster with system identifier {life.system_identifier} (PostgreSQL"
            f" {life.major_version}), but this server has {system_identifier} (PostgreSQL {major_version}).",
            "Give this cluster a stanza of its own, or connect to the right server. If it is the same cluster after"
            " pg_upgrade, claim a new incarnation: pitr_configure with claim: incarnation.",
            code="stanza_of_another_cluster",
            expected=life.system_identifier,
            found=system_identifier,
        )

    def require_registered(self) -> Incarnation:
        """The present life; an unknown stanza is an error that says what to do."""
        current = self.current()
        if current is None:
            raise PreconditionError(
                f"using the stanza {self.name} of {self.repository.store.url}",
                "no cluster has been registered under it.",
                "Check its name, or set up archiving first with the module pitr_configure.",
                code="stanza_unknown",
            )
        return current

    def _incarnation_identity(self, name: str) -> str:
        return layout.identity("stanza", self.name, "incarnation", name.rpartition("/")[2])

    # --- backups

    def backup_ids(self) -> list[str]:
        """Every visible backup, oldest first: those with a manifest."""
        folder = layout.backups_folder(self.name)
        names = (info.name[len(folder) :] for info in self.repository.store.list(folder))
        return sorted(name.partition("/")[0] for name in names if name.endswith("/manifest"))

    def exists(self, backup_id: str) -> bool:
        """Whether a backup is visible."""
        return self.repository.store.size(layout.manifest(self.name, backup_id)) is not None

    def any_header(self, backup_id: str) -> manifest.AnyHeader:
        """A backup's summary; reads the first frame of its manifest only."""
        for line in manifest.lines(self._manifest_pieces(backup_id)):
            return manifest.parse_header(line)
        raise damaged(layout.manifest(self.name, backup_id), self.repository.store.url, "it is empty.")

    def header(self, backup_id: str) -> manifest.Header:
        """The summary of a physical backup; another kind is refused."""
        header = self.any_header(backup_id)
        if not isinstance(header, manifest.Header):
            raise self.of_other_kind(header, manifest.PHYSICAL)
        return header

    def of_other_kind(self, header: manifest.AnyHeader, wanted: str) -> PreconditionError:
        """What to say of a backup that was taken for one of the kind that is wanted."""
        kind = manifest.PHYSICAL if isinstance(header, manifest.Header) else header.kind
        return PreconditionError(
            f"using the backup {header.backup_id} of {self.name}",
            f"it is a {kind} backup, and a {wanted} one is needed.",
            f"Choose a {wanted} backup of those that pg_backup_info or `lifeboat info` lists, or restore this one with"
            f" kind: {kind}.",
            code="backup_of_other_kind",
            kind=kind,
        )

    def headers(self) -> list[manifest.Header]:
        """The summaries of all physical backups, oldest first. One that expires meanwhile is left out."""
        return [header for header in self.all_headers() if isinstance(header, manifest.Header)]

    def sets(self, kind: str) -> list[manifest.SetHeader]:
        """The same of another kind."""
        found = (header for header in self.all_headers() if isinstance(header, manifest.SetHeader))
        return [header for header in found if header.kind == kind]

    def all_headers(self) -> list[manifest.AnyHeader]:
        """The same of every kind."""
        found = []
        for backup_id in self.backup_ids():
            try:
                found.append(self.any_header(backup_id))
            except (PreconditionError, IntegrityError):
                if self.exists(backup_id):
                    raise
        return found

    def entries(self, backup_id: str) -> Iterator[manifest.Entry]:
        """A backup's directories and files, streamed."""
        for number, line in enumerate(manifest.lines(self._manifest_pieces(backup_id))):
            if number > 0:  # the first is the header
                yield manifest.parse_entry(line)

    def publish(
        self, header: manifest.AnyHeader, lines: Iterable[bytes], ready: Callable[[], None] = lambda: None
    ) -> None:
        """Write a backup's manifest: the moment it becomes visible (I1).

        `ready` is called just before that, and may refuse by raising an error.
        """
        name = layout.manifest(self.name, header.backup_id)
        with self.repository.store.writer(name) as writer:
            stream = self.repository.stream_writer(writer, "metadata", self._manifest_identity(header.backup_id))
            stream.write(manifest.render_header(header))
            stream.end_frame()
            for line in lines:
                stream.write(line)
            stream.finish()
            ready()
            writer.commit()

    def unpublish(self, backup_id: str) -> None:
        """Remove a backup's manifest, first and for good: what it named is garbage from now on."""
        self.repository.store.delete(layout.manifest(self.name, backup_id), durably=True)

    def packs_there(self, generation: str, prefix: str = "") -> set[str]:
        """The ids of a generation's packs that exist."""
        folder = layout.packs_folder(self.name, generation)
        return {info.name[len(folder) :] for info in self.repository.store.list(folder + prefix)}

    def pack_name(self, generation: str, pack_id: str) -> str:
        """Where a pack of this stanza lies."""
        return layout.pack(self.name, generation, pack_id)

    def _manifest_identity(self, backup_id: str) -> str:
        return layout.identity("stanza", self.name, "backup", backup_id, "manifest")

    def _manifest_pieces(self, backup_id: str) -> Iterator[bytes]:
        name = layout.manifest(self.name, backup_id)
        if self.repository.store.size(name) is None:
            ids = self.backup_ids()
            known = ", ".join(ids[-3:]) or "none"
            raise PreconditionError(
                f"looking for the backup {backup_id} of {self.name} in {self.repository.store.url}",
                f"there is no such backup (the newest ones: {known}).",
                "List the backups with pg_backup_info or `lifeboat info` and give one of their ids.",
                code="backup_unknown",
            )
        return self.repository.read_stream(name, "metadata", self._manifest_identity(backup_id))
