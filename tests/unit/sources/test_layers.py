# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Layers around a file's content: found by what they are, read in bounded memory, and never past a bad end."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.foreign.files import Unlocking, opened
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.programs import Programs
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.process import Runner
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sources.foreign import (
    compression,
    openpgp,
    payloads,
    verification,
)
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

SQL = b"SET x = 1;\n" * 1000
zstd = zstandard.ZstdCompressor().compress

each_compressor = pytest.mark.parametrize("compress", [gzip.compress, zstd, bz2.compress, lzma.compress])


def encrypted(content: bytes, passphrase: str) -> bytes:
    """As `openssl enc -aes-256-cbc -pbkdf2` does it."""
    salt = os.urandom(8)
    material = hashlib.pbkdf2_hmac("sha256", passphrase.encode(), salt, 10000, 48)
    padding = 16 - len(content) % 16
    encryptor = Cipher(algorithms.AES(material[:32]), modes.CBC(material[32:])).encryptor()
    return b"Salted__" + salt + encryptor.update(content + bytes([padding]) * padding)


def read(path: Path, passphrase: str | None = None) -> bytes:
    with opened(path, Runner(), Unlocking(passphrase), "reading") as file:
        return b"".join(file.pieces)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def unpacked(data: bytes, size: int = 1 << 18) -> Iterator[bytes]:
    name = compression.recognised(data)
    assert name
    return compression.decompressed(name, pieces(data, size), Runner(), "reading")


@each_compressor
@pytest.mark.parametrize("size", [1, 100, 1 << 18])
def test_members_in_pieces_of_any_size(compress: Callable[[bytes], bytes], size: int) -> None:
    assert b"".join(unpacked(compress(SQL) + compress(b"") + compress(SQL), size)) == SQL * 2


@each_compressor
def test_what_becomes_much_becomes_it_little_by_little(compress: Callable[[bytes], bytes]) -> None:
    sizes = [len(piece) for piece in unpacked(compress(bytes(60_000_000)))]
    assert sum(sizes) == 60_000_000
    assert max(sizes) <= 33 << 20


@each_compressor
def test_every_cut_and_every_change_is_seen(compress: Callable[[bytes], bytes]) -> None:
    whole = compress(os.urandom(300))
    for size in range(20, len(whole)):
        with pytest.raises(LifeboatError, match="early|damaged"):
            list(unpacked(whole[:size]))
    with pytest.raises(LifeboatError):
        list(unpacked(whole + b"rubbish behind it"))


def test_encrypted_and_packed_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for data in (
        encrypted(gzip.compress(SQL), "p"),
        gzip.compress(encrypted(SQL, "p")),
        gzip.compress(encrypted(zstd(encrypted(SQL, "p")), "p")),
    ):
        path.write_bytes(data)
        assert read(path, "p") == SQL


@pytest.mark.parametrize("content", [b"", b"SET x = 1;", SQL])
def test_of_a_wrong_passphrase_nothing_comes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(encrypted(content, "right"))
    assert read(path, "right") == content
    if content:
        with pytest.raises(LifeboatError) as caught:
            read(path, "wrong")
        assert caught.value.code == "foreign_passphrase_wrong"
        path.write_bytes(path.read_bytes()[:-3] if len(content) > 16 else path.read_bytes()[:28])
        with pytest.raises(LifeboatError) as caught:
            read(path, "right")
        assert caught.value.code == "foreign_file_truncated"


@pytest.mark.parametrize("text", ["Über alles", "SET x = 1;", "-- PostgreSQL database dump", "\x85\x01"])
def test_text_is_no_message_of_gpg(text: str) -> None:
    assert not openpgp.recognised(text.encode())


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"--\n-- PostgreSQL database cluster dump\n--\n", "sql"),
        (b"/* mine */ -- all\n\nINSERT INTO x VALUES (1);", "sql"),
        (b"\xef\xbb\xbfSET x = 1;", "sql"),
        (b"-- MySQL dump 10.13\nCREATE TABLE `x` (a int);", "unknown"),
        (b"Settings are good", "unknown"),
        (b"PGDMP\x01\x0e\x00", "unknown"),
        (b"SET x = 1;\x00\x01", "unknown"),
    ],
)
def test_content_is_told_from_its_beginning(head: bytes, kind: str) -> None:
    assert payloads.payload_of(head).kind == kind


def test_a_whole_dump_that_only_psql_understands_is_complete(tmp_path: Path) -> None:
    def none(major: int | None) -> Programs:
        raise AssertionError(major)

    tools = verification.Tools(Runner(), none, tmp_path)
    dump = b"--\n-- PostgreSQL database dump\n--\nSET client_encoding = 'SJIS';\n" + SQL * 100
    path = tmp_path / "x"
    for end, good in ((b"--\n-- PostgreSQL database dump complete\n--\n", True), (b"", False)):
        path.write_bytes(dump + end)
        assert [c.good for c in verification.verify(path, Unlocking(), tools).checks] == [good, True]
