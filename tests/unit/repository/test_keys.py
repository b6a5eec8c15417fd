# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys: known answers, a key of its own for every object, and nothing that prints them."""

from __future__ import annotations

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.keys import (
    ROLES,
    EpochKeys,
    WrappingKey,
    hkdf_sha256,
    new_epoch,
)


@pytest.fixture
def keys() -> EpochKeys:
    return new_epoch(3)


# RFC 5869, A.1 to A.3; the first 32 bytes of each output
@pytest.mark.parametrize(
    ("secret", "salt", "info", "output"),
    [
        (
            b"\x0b" * 22,
            bytes(range(13)),
            bytes(range(0xF0, 0xFA)),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf",
        ),
        (
            bytes(range(80)),
            bytes(range(0x60, 0xB0)),
            bytes(range(0xB0, 0x100)),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c",
        ),
        (b"\x0b" * 22, b"", b"", "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"),
    ],
)
def test_derivation_gives_the_known_answers(secret: bytes, salt: bytes, info: bytes, output: str) -> None:
    assert hkdf_sha256(secret, salt, info).hex() == output


def test_keys_are_never_printed() -> None:
    keys = EpochKeys(1, *(b"secret" for _ignored in ROLES))
    for text in (repr(keys), str(keys), repr(WrappingKey(b"secret")), f"{WrappingKey(b'secret')}"):
        assert "secret" not in text


def test_an_objects_key_depends_on_everything_that_it_is(keys: EpochKeys) -> None:
    salt = bytes(32)
    derived = [
        keys.object_key("data", salt, "pack/a"),
        keys.object_key("metadata", salt, "pack/a"),
        keys.object_key("data", b"s" * 32, "pack/a"),
        keys.object_key("data", salt, "pack/b"),
        new_epoch(3).object_key("data", salt, "pack/a"),
    ]
    assert len(set(derived)) == len(derived)


def test_equal_content_has_an_equal_name_only_under_the_same_key(keys: EpochKeys) -> None:
    assert keys.content_digest(b"x") == keys.content_digest(b"x") != keys.content_digest(b"y")
    assert keys.content_digest(b"x") != new_epoch(3).content_digest(b"x")
    assert len({keys.content_digest(bytes(length)) for length in range(40)}) == 40
    assert 0 <= keys.digest_seed < 1 << 64
    assert keys.digest_seed != new_epoch(3).digest_seed


def test_the_digest_in_names_is_what_the_format_says() -> None:
    """Calculated once, apart from this code, as docs/repository-format.md describes it."""
    fixed = EpochKeys(1, bytes(32), bytes(32), bytes(range(32)))
    assert fixed.content_digest(b"lifeboat" * 1000) == "e1a3ac4ca05c462fc9adca72c40b368e"
    in_pieces = fixed.digest_of_content()
    for piece in (b"life", b"", b"boat" + b"lifeboat" * 999):
        in_pieces.update(piece)
    assert in_pieces.hexdigest() == "e1a3ac4ca05c462fc9adca72c40b368e"


def test_a_seal_is_for_one_document_in_one_place(keys: EpochKeys) -> None:
    seals = [
        keys.document_seal("id", 1, b"document"),
        keys.document_seal("id", 1, b"another"),
        keys.document_seal("id", 2, b"document"),
        keys.document_seal("other", 1, b"document"),
        new_epoch(3).document_seal("id", 1, b"document"),
    ]
    assert len(set(seals)) == len(seals)
    assert seals[0] == keys.document_seal("id", 1, b"document")


def test_without_the_data_key_only_metadata_can_be_used(keys: EpochKeys) -> None:
    limited = EpochKeys(3, None, keys.metadata, keys.naming)
    assert limited.object_key("metadata", bytes(32), "x") == keys.object_key("metadata", bytes(32), "x")
    assert limited.content_digest(b"x") == keys.content_digest(b"x")
    with expect.failure("key_lacks_data") as failure:
        limited.object_key("data", bytes(32), "pack/a")
    assert "pack/a" in failure.value.message
    with expect.failure("key_lacks_data"):
        limited.document_seal("id", 1, b"document")
