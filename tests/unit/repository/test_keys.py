# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys: known answers, files that only their owner can read, and wraps that open for their recipients only."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.keys import (
    ROLES,
    EpochKeys,
    WrappingKey,
    generate_key_file,
    hkdf_sha256,
    new_epoch,
    read_key_file,
    unwrap,
    wrap,
)

MINE, THEIRS = WrappingKey(b"m" * 32), WrappingKey(b"t" * 32)


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


# --- key files


def test_a_new_key_can_be_read_by_its_owner_alone_and_is_another_each_time(tmp_path: Path, strict_umask: None) -> None:
    made = [generate_key_file(tmp_path / name) for name in ("one", "two")]
    assert [read_key_file(tmp_path / name) for name in ("one", "two")] == made
    assert made[0].key_id != made[1].key_id
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o400}


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    key = generate_key_file(tmp_path / "key")
    with expect.failure("key_file_exists"):
        generate_key_file(tmp_path / "key")
    assert read_key_file(tmp_path / "key") == key
    assert len(list(tmp_path.iterdir())) == 1


def test_a_key_file_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    with expect.failure("key_file_not_writable"):
        generate_key_file(tmp_path / "nowhere/key")


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440])
def test_a_key_file_for_its_owner_is_read(tmp_path: Path, mode: int) -> None:
    key = generate_key_file(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    assert read_key_file(tmp_path / "key") == key


@pytest.mark.parametrize("mode", [0o404, 0o402, 0o401, 0o420, 0o410, 0o666])
def test_a_key_file_for_others_is_refused(tmp_path: Path, mode: int) -> None:
    generate_key_file(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with expect.failure("key_file_permissions") as failure:
        read_key_file(tmp_path / "key")
    assert f"{mode:04o}" in failure.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "something else",
        "lifeboat-key-1:",
        "lifeboat-key-1:" + base64.urlsafe_b64encode(bytes(31)).decode(),
        "lifeboat-key-1:" + base64.urlsafe_b64encode(bytes(33)).decode(),
        "lifeboat-key-1:ä",
        "lifeboat-key-2:" + base64.urlsafe_b64encode(bytes(32)).decode(),
    ],
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    (tmp_path / "key").chmod(0o400)
    with expect.failure("key_file_invalid"):
        read_key_file(tmp_path / "key")


def test_a_key_file_that_is_missing_or_not_a_file_is_explained(tmp_path: Path) -> None:
    with expect.failure("key_file_missing"):
        read_key_file(tmp_path / "key")
    with expect.failure("key_file_not_readable"):
        read_key_file(tmp_path)


def test_keys_are_never_printed() -> None:
    keys = EpochKeys(1, *(b"secret" for _ in ROLES))
    for text in (repr(keys), str(keys), repr(WrappingKey(b"secret")), f"{WrappingKey(b'secret')}"):
        assert "secret" not in text


# --- wrapping


@pytest.fixture
def keys() -> EpochKeys:
    return new_epoch(3)


@pytest.fixture
def document(keys: EpochKeys) -> dict[str, Any]:
    return {"epoch": 3, "recipients": [wrap(keys, THEIRS, "id"), wrap(keys, MINE, "id")]}


def test_each_recipient_opens_the_keys(keys: EpochKeys, document: dict[str, Any]) -> None:
    document = json.loads(json.dumps(document))
    assert unwrap(document, MINE, "id", "url") == unwrap(document, THEIRS, "id", "url") == keys


def test_a_key_that_is_no_recipient_is_refused_by_name(document: dict[str, Any]) -> None:
    stranger = WrappingKey(b"s" * 32)
    with expect.failure("key_wrong") as failure:
        unwrap(document, stranger, "id", "url")
    assert stranger.key_id in failure.value.message
    assert MINE.key_id in failure.value.message


def test_every_flipped_byte_of_a_wrapped_key_is_found(document: dict[str, Any]) -> None:
    for role in ROLES:
        sealed = base64.b64decode(document["recipients"][1]["wrapped"][role])
        for position in range(len(sealed)):
            tampered = copy.deepcopy(document)
            changed = bytes([*sealed[:position], sealed[position] ^ 1, *sealed[position + 1 :]])
            tampered["recipients"][1]["wrapped"][role] = base64.b64encode(changed).decode()
            with expect.failure("keys_damaged"):
                unwrap(tampered, MINE, "id", "url")


@pytest.mark.parametrize("wrapped", ["", "AAAA", "no base64", "A" * 20, "A" * 80])
def test_a_wrapped_key_that_is_none_is_found(document: dict[str, Any], wrapped: str) -> None:
    document["recipients"][1]["wrapped"]["data"] = wrapped
    with expect.failure("keys_damaged"):
        unwrap(document, MINE, "id", "url")


def test_wrapped_keys_cannot_be_moved(keys: EpochKeys, document: dict[str, Any]) -> None:
    with expect.failure("keys_damaged"):
        unwrap(document, MINE, "another repository", "url")
    with expect.failure("keys_damaged"):
        unwrap({**document, "epoch": 4}, MINE, "id", "url")
    wrapped = document["recipients"][1]["wrapped"]
    wrapped["data"], wrapped["naming"] = wrapped["naming"], wrapped["data"]
    with expect.failure("keys_damaged"):
        unwrap(document, MINE, "id", "url")


# --- what is derived


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
    assert 0 <= keys.digest_seed < 1 << 64
    assert keys.digest_seed != new_epoch(3).digest_seed
