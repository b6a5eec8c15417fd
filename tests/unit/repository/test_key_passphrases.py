# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passphrases: the same one gives the same key, however it is typed, and the cost is ours to choose."""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.keys import (
    Scrypt,
    WrappingKey,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.passphrases import (
    Passphrase,
    read_passphrase_file,
)

WORDS = "zwölf Boxkämpfer jagen"
CHEAP = Scrypt(b"s" * 16, 16, 8, 1)


def key_of(passphrase: Passphrase, scrypt: Scrypt = CHEAP) -> bytes:
    """The key that the passphrase gives, by way of the fingerprint that a document would have."""
    expected = WrappingKey(
        hashlib.scrypt(
            unicodedata.normalize("NFC", WORDS).encode(), salt=scrypt.salt, n=scrypt.n, r=scrypt.r, p=scrypt.p, dklen=32
        )
    )
    key = passphrase.key_for(expected.key_id, scrypt)
    assert key is not None
    return key.secret


def test_the_key_is_that_of_rfc_7914() -> None:
    passphrase = Passphrase("password")  # the second of its test vectors, cut to our length
    scrypt = Scrypt(b"NaCl", 1024, 8, 16)
    expected = WrappingKey(bytes.fromhex("fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"))
    found = passphrase.key_for(expected.key_id, scrypt)
    assert found is not None and found.secret == expected.secret


def test_composed_and_decomposed_letters_are_the_same() -> None:
    forms = {unicodedata.normalize(form, WORDS) for form in ("NFC", "NFD")}
    assert len(forms) == 2
    assert len({key_of(Passphrase(form)) for form in forms}) == 1


def test_another_passphrase_salt_or_entry_gives_nothing() -> None:
    key, scrypt = Passphrase(WORDS).enrol()
    assert scrypt is not None
    assert Passphrase(WORDS).key_for(key.key_id, scrypt) == key
    assert Passphrase(WORDS + "!").key_for(key.key_id, scrypt) is None
    assert Passphrase(WORDS).key_for(key.key_id, CHEAP) is None
    assert Passphrase(WORDS).key_for(key.key_id, None) is None
    assert WrappingKey(key.secret).key_for(key.key_id, scrypt) is None


def test_every_enrolment_has_a_salt_of_its_own_and_is_costly() -> None:
    salts = set()
    for _time in range(2):
        _key, scrypt = Passphrase(WORDS).enrol()
        assert scrypt is not None
        salts.add(scrypt.salt)
        assert 128 * scrypt.n * scrypt.r == 64 << 20
    assert len(salts) == 2


def test_what_could_be_guessed_is_refused_for_new_recipients_only() -> None:
    with expect.failure("passphrase_too_short"):
        Passphrase("elevenchars").enrol()
    Passphrase("password").key_for("", CHEAP)


@pytest.mark.parametrize("scrypt", [Scrypt(b"s", 1 << 30, 8, 1), Scrypt(b"s", 1 << 16, 64, 1), Scrypt(b"s", 16, 8, 99)])
def test_a_document_cannot_make_a_reader_work_for_hours(scrypt: Scrypt) -> None:
    with expect.failure("keys_damaged"):
        Passphrase(WORDS).key_for("", scrypt)


def test_passphrases_are_never_printed() -> None:
    passphrase = Passphrase(WORDS)
    for text in (repr(passphrase), str(passphrase), passphrase.describe()):
        assert WORDS not in text


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\nand a note\n"])
def test_the_first_line_of_a_file_counts(tmp_path: Path, ending: str) -> None:
    (tmp_path / "phrase").write_bytes(WORDS.encode() + ending.encode())
    (tmp_path / "phrase").chmod(0o400)
    assert key_of(read_passphrase_file(tmp_path / "phrase"))


def test_a_file_for_others_or_of_other_bytes_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "phrase"
    with expect.failure("key_file_missing"):
        read_passphrase_file(file)
    file.write_bytes(b"\xff\xfe\n")
    file.chmod(0o444)
    with expect.failure("key_file_permissions"):
        read_passphrase_file(file)
    file.chmod(0o400)
    with expect.failure("passphrase_file_invalid"):
        read_passphrase_file(file)
