# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making and opening a repository: by whom, which, and in one piece."""

from __future__ import annotations

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import IntegrityError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import plain_documents
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import repository as room
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.keys import WrappingKey
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.repository import Repository
from fakes import MemoryStore
from made import KEY

DOCUMENTS = ["lifeboat-repository.json", "keys/000001-000001.json"]


def test_a_new_repository_opens_with_its_key(repository: Repository, store: MemoryStore) -> None:
    opened = room.open_repository(store, KEY)
    assert opened.repository_id == repository.repository_id
    assert opened.keys == repository.keys
    assert list(store.objects) == list(reversed(DOCUMENTS))


def test_it_opens_with_no_other_key(repository: Repository, store: MemoryStore) -> None:
    with expect.failure("key_wrong"):
        room.open_repository(store, WrappingKey(b"x" * 32))


def test_where_there_is_none_none_is_opened() -> None:
    assert not room.exists(MemoryStore())
    with expect.failure("repository_missing"):
        room.open_repository(MemoryStore(), KEY)


def test_of_two_that_are_made_at_once_one_is(repository: Repository, store: MemoryStore, clock: Clock) -> None:
    before = dict(store.objects)
    with expect.failure("repository_half_made"):
        room.create(store, WrappingKey(b"x" * 32), clock)
    assert store.objects == before


def test_keys_of_another_repository_do_not_open_it(repository: Repository, store: MemoryStore, clock: Clock) -> None:
    other = MemoryStore()
    room.create(other, KEY, clock)
    store.objects[DOCUMENTS[1]] = other.objects[DOCUMENTS[1]]
    with expect.failure("keys_damaged"):
        room.open_repository(store, KEY)


def test_without_its_key_documents_it_does_not_open(repository: Repository, store: MemoryStore) -> None:
    store.delete(DOCUMENTS[1])
    with expect.failure("object_missing"):
        room.open_repository(store, KEY)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_flipped_byte_of_a_document_is_found(repository: Repository, store: MemoryStore, name: str) -> None:
    document = store.objects[name]
    for position in range(len(document)):
        store.objects[name] = document[:position] + bytes([document[position] ^ 1]) + document[position + 1 :]
        with pytest.raises(IntegrityError) as failure:
            room.open_repository(store, KEY)
        assert failure.value.details["object"] == name
    for length in range(len(document)):
        store.objects[name] = document[:length]
        with expect.failure("object_damaged"):
            room.open_repository(store, KEY)


def test_a_newer_format_is_refused(repository: Repository, store: MemoryStore) -> None:
    document = plain_documents.read(store, DOCUMENTS[0]).content
    newer = plain_documents.encode({**document, "format": room.FORMAT + 1})
    store.objects[DOCUMENTS[0]] = plain_documents.render(newer)
    with expect.failure("format_too_new"):
        room.open_repository(store, KEY)


def test_nothing_but_identity_and_recipients_can_be_read_without_a_key(
    repository: Repository, store: MemoryStore
) -> None:
    repository.put_document("stanzas/main/document", "identity", {"cluster": "customers"})
    assert repository.get_document("stanzas/main/document", "identity") == {"cluster": "customers"}
    assert b"customers" not in b"".join(store.objects.values())


def test_a_document_that_is_taken_stays(repository: Repository) -> None:
    assert repository.put_document("name", "identity", {"who": 1}, if_absent=True)
    assert not repository.put_document("name", "identity", {"who": 2}, if_absent=True)
    assert repository.get_document("name", "identity") == {"who": 1}
