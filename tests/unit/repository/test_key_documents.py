# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key documents: the newest revision counts, whoever has no key cannot alter one, and no race loses a change."""

from __future__ import annotations

import json
from typing import Any

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import (
    key_documents,
    layout,
    plain_documents,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import repository as room
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.keys import WrappingKey
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.recipients import wrap
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.repository import Repository
from fakes import MemoryStore
from made import KEY

FIRST, SECOND = layout.epoch_keys(1, 1), layout.epoch_keys(1, 2)
OTHER = WrappingKey(b"o" * 32)


def revise(repository: Repository, revision: int = 2, access: str = "full") -> bool:
    """Add OTHER as a recipient in a new revision."""
    present = repository.epochs[-1].document.recipients
    added = wrap(repository.keys, OTHER, repository.repository_id, label="other", access=access)
    return key_documents.create(
        repository.store, repository.keys, repository.repository_id, revision, "now", [*present, added]
    )


def forge(store: MemoryStore, name: str, **changes: Any) -> None:
    """What somebody without a key could do: alter the document and mend its checksum."""
    plain = plain_documents.read(store, name)
    store.objects[name] = plain_documents.render(plain_documents.encode({**plain.content, **changes}), plain.seal)


def test_the_newest_revision_counts(repository: Repository, store: MemoryStore) -> None:
    with expect.failure("key_wrong"):
        room.open_repository(store, OTHER)
    assert revise(repository)
    for key in (KEY, OTHER):
        assert room.open_repository(store, key).keys == repository.keys
    assert key_documents.outdated(store) == [FIRST]
    store.delete(FIRST)
    assert room.open_repository(store, KEY).keys == repository.keys


def test_a_revision_is_written_once(repository: Repository, store: MemoryStore) -> None:
    assert revise(repository)
    written = store.objects[SECOND]
    assert not revise(repository)
    assert store.objects[SECOND] == written


def test_other_objects_beside_them_are_no_documents(repository: Repository, store: MemoryStore) -> None:
    for name in ("keys/README", "keys/000009.json", "keys/000001-000009.json.bak", "keys/old/000001-000009.json"):
        store.put(name, b"")
    assert room.open_repository(store, KEY).keys == repository.keys
    assert key_documents.outdated(store) == []


def test_a_document_that_is_replaced_while_it_is_read_is_no_failure(
    repository: Repository, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    get = store.get

    def replaced_meanwhile(name: str) -> bytes:
        if name == FIRST and revise(repository):
            store.delete(FIRST)
        return get(name)

    monkeypatch.setattr(store, "get", replaced_meanwhile)
    assert room.open_repository(store, OTHER).keys == repository.keys


def test_a_document_that_nobody_finds_is_an_error(repository: Repository, store: MemoryStore) -> None:
    listed = list(store.list("keys/"))
    store.delete(FIRST)
    store.list = lambda _prefix: iter(listed)  # type: ignore[method-assign]
    with expect.failure("object_missing"):
        room.open_repository(store, KEY)


# --- alterations by those who have no key


def test_no_field_can_be_altered(repository: Repository, store: MemoryStore) -> None:
    revise(repository)
    plain = plain_documents.read(store, SECOND)
    first, second = plain.content["recipients"]
    forgeries: list[dict[str, Any]] = [
        {"created": "yesterday"},
        {"recipients": [first]},
        {"recipients": [second, first]},
        {"recipients": [{**first, "label": second["label"]}, {**second, "label": first["label"]}]},
        {"recipients": [first, {**second, "provider": "command"}]},
        {"recipients": [first, {**second, "wrapped": {**second["wrapped"], "data": first["wrapped"]["data"]}}]},
        {"added": "field"},
    ]
    undamaged = store.objects[SECOND]
    for changes in forgeries:
        store.objects[SECOND] = undamaged
        forge(store, SECOND, **changes)
        with expect.failure("keys_damaged") as failure:
            room.open_repository(store, KEY)
        assert failure.value.details["object"] == SECOND


def test_it_cannot_be_renamed(repository: Repository, store: MemoryStore) -> None:
    store.objects[layout.epoch_keys(1, 7)] = store.objects[FIRST]
    with expect.failure("keys_damaged"):
        room.open_repository(store, KEY)
    store.delete(layout.epoch_keys(1, 7))
    store.objects[layout.epoch_keys(2, 1)] = store.objects[FIRST]
    with expect.failure("object_damaged"):
        room.open_repository(store, KEY)


def test_its_seal_cannot_be_left_out(repository: Repository, store: MemoryStore) -> None:
    store.objects[FIRST] = plain_documents.render(plain_documents.read(store, FIRST).raw)
    with expect.failure("keys_damaged"):
        room.open_repository(store, KEY)


def test_who_has_no_data_key_opens_by_the_own_entry(repository: Repository, store: MemoryStore) -> None:
    revise(repository, access="metadata")
    opened = room.open_repository(store, OTHER)
    assert (opened.keys.data, opened.keys.metadata) == (None, repository.keys.metadata)


@pytest.mark.parametrize(
    "changes",
    [
        {"recipients": "nobody"},
        {"recipients": [{}]},
        {"recipients": [7]},
        {"recipients": None},
        {"epoch": "1"},
        {"epoch": None},
    ],
)
def test_a_document_of_another_shape_is_called_damaged(
    repository: Repository, store: MemoryStore, changes: dict[str, Any]
) -> None:
    forge(store, FIRST, **changes)
    with expect.failure("object_damaged") as failure:
        room.open_repository(store, KEY)
    assert failure.value.details["object"] == FIRST


def test_it_is_json_that_anybody_can_read(repository: Repository, store: MemoryStore) -> None:
    document = json.loads(store.objects[FIRST])
    assert set(document) == {"document", "seal", "sha256"}
    (recipient,) = document["document"]["recipients"]
    assert (recipient["label"], recipient["key_id"], recipient["provider"]) == ("primary", KEY.key_id, "file")
    assert set(json.loads(store.objects[layout.REPOSITORY_DOCUMENT])) == {"document", "sha256"}
