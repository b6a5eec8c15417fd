# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipients: each opens the keys, nobody else does, and no entry can be altered or moved."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.keys import (
    EpochKeys,
    Scrypt,
    WrappingKey,
    new_epoch,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.passphrases import Passphrase
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.recipients import (
    METADATA_ACCESS,
    Recipient,
    unwrap,
    wrap,
)

MINE, THEIRS = WrappingKey(b"m" * 32), WrappingKey(b"t" * 32)
ROLES = ("data", "metadata", "naming")


@pytest.fixture
def keys() -> EpochKeys:
    return new_epoch(3)


@pytest.fixture
def recipients(keys: EpochKeys) -> list[Recipient]:
    return [wrap(keys, THEIRS, "id", label="theirs"), wrap(keys, MINE, "id", label="mine")]


def opened(recipients: list[Recipient], key: WrappingKey, repository_id: str = "id", epoch: int = 3) -> EpochKeys:
    return unwrap(recipients, key, repository_id, epoch, "url")[1]


def test_each_recipient_opens_the_keys(keys: EpochKeys, recipients: list[Recipient]) -> None:
    assert opened(recipients, MINE) == opened(recipients, THEIRS) == keys
    assert [unwrap(recipients, key, "id", 3, "url")[0].label for key in (MINE, THEIRS)] == ["mine", "theirs"]


def test_an_entry_survives_being_written_down(recipients: list[Recipient]) -> None:
    recipients.append(replace(recipients[0], scrypt=Scrypt(b"salt", 16, 8, 1)))
    written = json.loads(json.dumps([recipient.as_dict() for recipient in recipients]))
    assert [Recipient.from_dict(entry) for entry in written] == recipients


def test_a_key_that_is_no_recipient_is_refused_by_name(recipients: list[Recipient]) -> None:
    stranger = WrappingKey(b"s" * 32)
    with expect.failure("key_wrong") as failure:
        opened(recipients, stranger)
    for text in (stranger.key_id, MINE.key_id, "mine", "theirs"):
        assert text in failure.value.message


def with_wrapped(recipients: list[Recipient], role: str, change: Callable[[bytes], bytes]) -> list[Recipient]:
    theirs, mine = recipients
    return [theirs, replace(mine, wrapped={**mine.wrapped, role: change(mine.wrapped[role])})]


@pytest.mark.parametrize("role", ROLES)
def test_every_flipped_byte_of_a_wrapped_key_is_found(recipients: list[Recipient], role: str) -> None:
    for position in range(len(recipients[1].wrapped[role])):

        def flip(sealed: bytes, at: int = position) -> bytes:
            return bytes([*sealed[:at], sealed[at] ^ 1, *sealed[at + 1 :]])

        with expect.failure("keys_damaged"):
            opened(with_wrapped(recipients, role, flip), MINE)


@pytest.mark.parametrize("length", [0, 3, 12, 15, 30, 59])
def test_a_wrapped_key_that_is_cut_is_found(recipients: list[Recipient], length: int) -> None:
    with expect.failure("keys_damaged"):
        opened(with_wrapped(recipients, "data", lambda sealed: sealed[:length]), MINE)


def test_a_missing_key_other_than_that_of_data_is_found(recipients: list[Recipient]) -> None:
    theirs, mine = recipients
    for role in ("metadata", "naming"):
        less = {other: sealed for other, sealed in mine.wrapped.items() if other != role}
        with expect.failure("keys_damaged"):
            opened([theirs, replace(mine, wrapped=less)], MINE)


def test_wrapped_keys_cannot_be_moved(recipients: list[Recipient]) -> None:
    theirs, mine = recipients
    swapped = {**mine.wrapped, "data": mine.wrapped["naming"], "naming": mine.wrapped["data"]}
    for moved in (
        lambda: opened(recipients, MINE, repository_id="another"),
        lambda: opened(recipients, MINE, epoch=4),
        lambda: opened([replace(mine, wrapped=swapped)], MINE),
        lambda: opened([replace(mine, wrapped=theirs.wrapped)], MINE),
    ):
        with expect.failure("keys_damaged"):
            moved()


def test_access_to_metadata_leaves_the_data_key_out(keys: EpochKeys) -> None:
    recipient = wrap(keys, MINE, "id", label="monitoring", access=METADATA_ACCESS)
    assert (set(recipient.wrapped), recipient.access) == ({"metadata", "naming"}, "metadata")
    assert opened([recipient], MINE) == EpochKeys(3, None, keys.metadata, keys.naming)


def test_a_passphrase_opens_its_own_entry_among_others(keys: EpochKeys, recipients: list[Recipient]) -> None:
    words = "correct horse battery staple"
    recipients += [
        wrap(keys, Passphrase("another one of them"), "id", label="a"),
        wrap(keys, Passphrase(words), "id", label="b"),
    ]
    recipients = [Recipient.from_dict(recipient.as_dict()) for recipient in recipients]
    recipient, found = unwrap(recipients, Passphrase(words), "id", 3, "url")
    assert (recipient.label, recipient.provider, found) == ("b", "passphrase", keys)
    assert words not in json.dumps([recipient.as_dict() for recipient in recipients])
    with expect.failure("key_wrong") as failure:
        unwrap(recipients, Passphrase("this is not the one"), "id", 3, "url")
    assert "this is not the one" not in failure.value.message
