# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository: a store, its identity and its keys."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from typing import Any

from ..clock import Clock, utc_text
from ..errors import IntegrityError, PreconditionError, UnsupportedError
from ..store.base import ObjectWriter, Store
from ..version import VERSION
from . import layout
from .keys import EpochKeys, WrappingKey, new_epoch, unwrap, wrap
from .sealed import Sealer, StreamWriter, read_stream

FORMAT = 1
METADATA_LEVEL = 3


def _render_document(document: dict[str, Any]) -> bytes:
    """Plain JSON with a checksum, for the few objects that must be readable without a key."""
    body = json.dumps(document, sort_keys=True, indent=1)
    checksum = hashlib.sha256(body.encode()).hexdigest()
    return json.dumps({"checksum": checksum, "document": document}, sort_keys=True, indent=1).encode() + b"\n"


def _read_document(store: Store, name: str) -> dict[str, Any]:
    raw = store.get(name)
    try:
        outer = json.loads(raw)
        document: dict[str, Any] = outer["document"]
        body = json.dumps(document, sort_keys=True, indent=1)
        if outer["checksum"] != hashlib.sha256(body.encode()).hexdigest() or raw != _render_document(document):
            raise ValueError("its checksum does not match")
    except (ValueError, KeyError, TypeError) as exc:
        raise IntegrityError(
            f"reading {name} in {store.url}",
            f"the object is damaged ({exc}).",
            "Restore it from another copy of the repository.",
            code="object_damaged",
            object=name,
        ) from exc
    return document


class Repository:
    """An opened repository. Reading needs a key of one of its recipients."""

    def __init__(self, store: Store, repository_id: str, epochs: dict[int, EpochKeys]) -> None:
        self.store = store
        self.repository_id = repository_id
        self._epochs = epochs

    @property
    def keys(self) -> EpochKeys:
        """The keys of the present epoch, for writing."""
        return self._epochs[max(self._epochs)]

    def keys_of(self, epoch: int) -> EpochKeys | None:
        """The keys of an epoch, for reading; None when the repository has no such epoch."""
        return self._epochs.get(epoch)

    def stream_writer(
        self, writer: ObjectWriter, role: str, identity: str, level: int = METADATA_LEVEL
    ) -> StreamWriter:
        """Seal a stream into an object that the caller commits."""
        return StreamWriter(writer, Sealer(self.keys, role, identity, level))

    def read_stream(self, name: str, role: str, identity: str) -> Iterator[bytes]:
        """A sealed object's raw bytes, authenticated piece by piece."""
        return read_stream(self.store, name, self.keys_of, role, identity)

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


def create(store: Store, wrapping: WrappingKey, clock: Clock) -> Repository:
    """Make an empty repository. Its identity document comes last and decides a race."""
    repository_id = str(uuid.uuid4())
    keys = new_epoch(1)
    now = utc_text(clock.now())
    document = {"epoch": 1, "created": now, "recipients": [wrap(keys, wrapping, repository_id)]}
    if not store.put(layout.epoch_keys(1), _render_document(document), if_absent=True):
        raise PreconditionError(
            f"creating a repository in {store.url}",
            "key documents exist there already, but the repository's own document does not.",
            f"If another creation was interrupted and nothing was stored yet, remove {layout.epoch_keys(1)} there;"
            " otherwise restore the missing document from another copy.",
            code="repository_half_made",
        )
    identity = {"format": FORMAT, "repository_id": repository_id, "created": now, "engine_version": VERSION}
    store.put(layout.REPOSITORY_DOCUMENT, _render_document(identity), if_absent=True)
    return Repository(store, repository_id, {1: keys})


def open_repository(store: Store, wrapping: WrappingKey) -> Repository:
    """Open with one recipient's key, checking format and identity."""
    if not exists(store):
        raise PreconditionError(
            f"opening the repository {store.url}",
            "there is no Lifeboat repository.",
            "Check the path and that its disk is mounted; make a new one with the module pg_backup_repository.",
            code="repository_missing",
        )
    identity = _read_document(store, layout.REPOSITORY_DOCUMENT)
    if identity["format"] > FORMAT:
        raise UnsupportedError(
            f"opening the repository {store.url}",
            f"its format {identity['format']} is newer than this Lifeboat understands ({FORMAT}).",
            "Update Lifeboat on this host.",
            code="format_too_new",
        )
    epochs = {}
    for info in store.list("keys/"):
        document = _read_document(store, info.name)
        keys = unwrap(document, wrapping, identity["repository_id"], store.url)
        epochs[keys.epoch] = keys
    if not epochs:
        raise IntegrityError(
            f"opening the repository {store.url}",
            "its key documents below keys/ are missing.",
            "Restore them from another copy; without them nothing can be read.",
            code="object_missing",
        )
    return Repository(store, identity["repository_id"], epochs)
