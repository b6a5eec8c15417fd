# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key documents: per epoch, its recipients and the keys wrapped for them.

A change of the recipients is a new document under the next revision's name, created only if that
is still free: of two who change them at once, one sees it and starts again from the other's
result. The newest revision counts; older ones are removed once it is durable, so a crash at any
moment leaves one whole document in effect.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..errors import IntegrityError, LifeboatError
from ..store.base import Store
from . import layout, plain_documents
from .keys import EpochKeys, KeyHolder
from .plain_documents import PlainDocument
from .recipients import Recipient, unwrap

_NAME = re.compile(r"(?P<epoch>[0-9]{6})-(?P<revision>[0-9]{6})\.json")
# How often a document may be replaced between looking at the names and reading it.
_ATTEMPTS = 5


@dataclass(frozen=True)
class KeyDocument:
    """One revision of an epoch's key document."""

    name: str
    epoch: int
    revision: int
    created: str
    recipients: tuple[Recipient, ...]
    plain: PlainDocument

    def open(self, holder: KeyHolder, repository_id: str, url: str) -> OpenEpoch:
        """The holder's entry and keys. Who has full access also proves that nobody else altered the document."""
        recipient, keys = unwrap(self.recipients, holder, repository_id, self.epoch, url)
        if keys.data is not None:
            seal = keys.document_seal(repository_id, self.revision, self.plain.raw)
            if not hmac.compare_digest(seal, self.plain.seal):
                raise IntegrityError(
                    f"opening the keys of the repository {url}",
                    f"{self.name} was altered by somebody who does not have the repository's keys.",
                    "Find out who can write to the repository, and restore this object from another copy.",
                    code="keys_damaged",
                    object=self.name,
                )
        return OpenEpoch(self, recipient, keys)


@dataclass(frozen=True)
class OpenEpoch:
    """An epoch's key document, the entry that it was opened with, and the keys."""

    document: KeyDocument
    recipient: Recipient
    keys: EpochKeys


def newest(store: Store) -> list[KeyDocument]:
    """The document in effect of every epoch, oldest epoch first."""
    for _attempt in range(_ATTEMPTS):
        last = {name["epoch"]: name for name in _names(store)}  # they come in order
        try:
            return [_read(store, name) for name in last.values()]
        except LifeboatError as error:
            if error.code != "object_missing":
                raise
    raise IntegrityError(
        f"reading the key documents in {store.url}",
        "they vanish while they are read.",
        "Find out who removes them, and restore them from another copy of the repository.",
        code="object_missing",
    )


def outdated(store: Store) -> list[str]:
    """The names of documents that a newer revision has replaced."""
    found = list(_names(store))
    last = {name["epoch"]: name for name in found}
    return [layout.KEYS_FOLDER + name.string for name in found if name is not last[name["epoch"]]]


def create(
    store: Store,
    keys: EpochKeys,
    repository_id: str,
    revision: int,
    created: str,
    recipients: Iterable[Recipient],
) -> bool:
    """Write a revision. False when somebody else has written it."""
    raw = plain_documents.encode(
        {"epoch": keys.epoch, "created": created, "recipients": [recipient.as_dict() for recipient in recipients]}
    )
    seal = keys.document_seal(repository_id, revision, raw)
    return store.put(layout.epoch_keys(keys.epoch, revision), plain_documents.render(raw, seal), if_absent=True)


def _names(store: Store) -> Iterator[re.Match[str]]:
    for info in store.list(layout.KEYS_FOLDER):
        name = _NAME.fullmatch(info.name[len(layout.KEYS_FOLDER) :])
        if name is not None:
            yield name


def _read(store: Store, place: re.Match[str]) -> KeyDocument:
    name, epoch = layout.KEYS_FOLDER + place.string, int(place["epoch"])
    plain = plain_documents.read(store, name)
    try:
        if plain.content["epoch"] != epoch:
            raise ValueError("it belongs to another epoch")
        recipients = tuple(Recipient.from_dict(entry) for entry in plain.content["recipients"])
        return KeyDocument(name, epoch, int(place["revision"]), str(plain.content["created"]), recipients, plain)
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise plain_documents.damaged(store, name, str(exc)) from exc
