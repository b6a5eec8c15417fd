# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository: a store, its identity and its keys."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

from ..clock import Clock, utc_text
from ..errors import IntegrityError, PreconditionError, UnsupportedError
from ..store.base import ObjectWriter, Store
from ..version import VERSION
from . import key_documents, layout, plain_documents
from .key_documents import OpenEpoch
from .keys import EpochKeys, KeyHolder, new_epoch
from .recipients import Recipient, wrap
from .sealed import Sealer, StreamWriter, read_stream

FORMAT = 1
METADATA_LEVEL = 3
_CONTENT_READ_BYTES = 16 << 20
# The label of whose key the repository was made with.
FIRST_RECIPIENT = "primary"


class Repository:
    """A repository as one of its recipients has opened it."""

    def __init__(self, store: Store, repository_id: str, epochs: list[OpenEpoch]) -> None:
        self.store = store
        self.repository_id = repository_id
        self.epochs = epochs
        self._keys = {epoch.document.epoch: epoch.keys for epoch in epochs}

    @property
    def recipient(self) -> Recipient:
        """Who opened it."""
        return self.epochs[-1].recipient

    def require_in_place(self) -> None:
        """Refuse a directory whose disk is gone: what is written below an empty mount point is nowhere.

        Only for those who keep a repository open for long. A bucket cannot vanish like this.
        """
        if "://" not in self.store.url and not exists(self.store):
            _identity(self.store)

    @property
    def keys(self) -> EpochKeys:
        """The keys of the present epoch, for writing."""
        return self.epochs[-1].keys

    def keys_of(self, epoch: int) -> EpochKeys | None:
        """The keys of an epoch, for reading; None when the repository has no such epoch."""
        return self._keys.get(epoch)

    def stream_writer(
        self, writer: ObjectWriter, role: str, identity: str, level: int = METADATA_LEVEL
    ) -> StreamWriter:
        """Seal a stream into an object that the caller commits."""
        return StreamWriter(writer, Sealer(self.keys, role, identity, level))

    def read_stream(self, name: str, role: str, identity: str) -> Iterator[bytes]:
        """A sealed object's raw bytes, authenticated piece by piece."""
        return read_stream(self.store, name, self.keys_of, role, identity)

    def put_content(self, name: str, identity: str, content: bytes | memoryview, level: int) -> None:
        """Seal data as an object of its own."""
        with self.store.writer(name) as writer:
            stream = self.stream_writer(writer, "data", identity, level)
            stream.write(content)
            stream.finish()
            writer.commit()

    def read_content(self, name: str, identity: str, size: int, digest: str) -> Iterator[bytes]:
        """Data that was sealed as an object of its own, authenticated piece by piece, in as few requests as memory
        allows. At the end, all of it is checked against the digest in its name: only who gets there has it.
        """
        found = self.keys.digest_of_content()
        for piece in read_stream(
            self.store, name, self.keys_of, "data", identity, size=size, at_once=_CONTENT_READ_BYTES
        ):
            found.update(piece)
            yield piece
        if found.hexdigest() != digest:
            raise IntegrityError(
                f"reading {name} in {self.store.url}",
                "its content does not match the digest in its name.",
                "Restore this object from another copy of the repository.",
                code="object_damaged",
                object=name,
            )

    def put_document(self, name: str, identity: str, document: dict[str, Any], *, if_absent: bool = False) -> bool:
        """Seal a small JSON document as metadata."""
        sealer = Sealer(self.keys, "metadata", identity, METADATA_LEVEL)
        _number, frame = sealer.seal(json.dumps(document, sort_keys=True).encode(), last=True)
        return self.store.put(name, sealer.header + frame, if_absent=if_absent)

    def get_document(self, name: str, identity: str) -> dict[str, Any]:
        """Open a small JSON document."""
        document: dict[str, Any] = json.loads(b"".join(self.read_stream(name, "metadata", identity)))
        return document


def exists(store: Store) -> bool:
    """Whether a repository has been made in this store."""
    return store.size(layout.REPOSITORY_DOCUMENT) is not None


def create(store: Store, holder: KeyHolder, clock: Clock) -> Repository:
    """Make an empty repository. Its identity document comes last and decides a race."""
    repository_id = str(uuid.uuid4())
    keys = new_epoch(1)
    now = utc_text(clock.now())
    first = wrap(keys, holder, repository_id, label=FIRST_RECIPIENT)
    if not key_documents.create(store, keys, repository_id, 1, now, [first]):
        raise PreconditionError(
            f"creating a repository in {store.url}",
            "key documents exist there already, but the repository's own document does not.",
            f"If another creation was interrupted and nothing was stored yet, remove {layout.epoch_keys(1, 1)} there;"
            " otherwise restore the missing document from another copy.",
            code="repository_half_made",
        )
    identity = {"format": FORMAT, "repository_id": repository_id, "created": now, "engine_version": VERSION}
    document = plain_documents.render(plain_documents.encode(identity))
    store.put(layout.REPOSITORY_DOCUMENT, document, if_absent=True)
    return open_repository(store, holder)


def open_repository(store: Store, holder: KeyHolder) -> Repository:
    """Open as one of its recipients, checking format and identity."""
    identity = _identity(store)
    if identity["format"] > FORMAT:
        raise UnsupportedError(
            f"opening the repository {store.url}",
            f"its format {identity['format']} is newer than this Lifeboat understands ({FORMAT}).",
            "Update Lifeboat on this host.",
            code="format_too_new",
        )
    documents = key_documents.newest(store)
    if not documents:
        raise IntegrityError(
            f"opening the repository {store.url}",
            "its key documents below keys/ are missing.",
            "Restore them from another copy; without them nothing can be read.",
            code="object_missing",
        )
    repository_id = str(identity["repository_id"])
    return Repository(store, repository_id, [each.open(holder, repository_id, store.url) for each in documents])


def _identity(store: Store) -> dict[str, Any]:
    try:
        return plain_documents.read(store, layout.REPOSITORY_DOCUMENT).content
    except IntegrityError as error:
        if error.code != "object_missing":
            raise
        raise PreconditionError(
            f"opening the repository {store.url}",
            "there is no Lifeboat repository.",
            "Check the path and that its disk is mounted; make a new one with the module pg_backup_repository.",
            code="repository_missing",
        ) from error
