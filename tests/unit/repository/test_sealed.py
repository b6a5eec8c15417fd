# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sealed objects: what was written comes back, or an error names the object (I3)."""

from __future__ import annotations

import random
import struct

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import sealed
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.keys import EpochKeys
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.repository import Repository
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.sealed import (
    FRAME_RAW_BYTES,
    HEADER_BYTES,
    Sealer,
)
from fakes import MemoryStore

NAME, IDENTITY = "folder/object", "what/it/is"
RANDOM = random.Random(1).randbytes(2 * FRAME_RAW_BYTES + 5)


def write(
    repository: Repository, *frames: bytes, name: str = NAME, identity: str = IDENTITY, role: str = "data"
) -> None:
    """A stream whose frames are these."""
    with repository.store.writer(name) as writer:
        stream = repository.stream_writer(writer, role, identity)
        for frame in frames[:-1]:
            stream.write(frame)
            stream.end_frame()
        stream.write(frames[-1])
        stream.finish()
        writer.commit()


def read(repository: Repository, name: str = NAME, identity: str = IDENTITY, role: str = "data") -> bytes:
    return b"".join(repository.read_stream(name, role, identity))


def frames_of(data: bytes) -> list[bytes]:
    """A sealed object's frames, with their prefixes."""
    frames, position = [], HEADER_BYTES
    while position < len(data):
        length = sealed.FRAME_PREFIX_BYTES + struct.unpack_from(">BI", data, position)[1]
        frames.append(data[position : position + length])
        position += length
    return frames


@pytest.fixture
def small(repository: Repository, store: MemoryStore) -> bytes:
    """An object of three frames: compressed, empty, incompressible."""
    write(repository, b"a" * 50, b"", b"\x00\xff")
    return store.objects[NAME]


# --- what was written comes back


@pytest.mark.parametrize("size", [0, 1, FRAME_RAW_BYTES - 1, FRAME_RAW_BYTES, FRAME_RAW_BYTES + 1, len(RANDOM)])
@pytest.mark.parametrize("kind", ["compressible", "random"])
def test_a_stream_of_any_size_comes_back(repository: Repository, store: MemoryStore, size: int, kind: str) -> None:
    data = RANDOM[:size] if kind == "random" else b"abcdefgh" * (size // 8) + b"x" * (size % 8)
    write(repository, data)
    assert read(repository) == data
    assert len(frames_of(store.objects[NAME])) == max(1, -(-size // FRAME_RAW_BYTES))


def test_what_does_not_compress_costs_its_own_size_and_a_little_more(
    repository: Repository, store: MemoryStore
) -> None:
    write(repository, RANDOM[:1000])
    assert len(store.objects[NAME]) == HEADER_BYTES + sealed.FRAME_PREFIX_BYTES + 1000 + sealed.TAG_BYTES


def test_a_stream_is_the_same_however_it_was_cut_into_pieces(repository: Repository) -> None:
    with repository.store.writer(NAME) as writer:
        stream = repository.stream_writer(writer, "data", IDENTITY)
        for start in range(0, len(RANDOM), 333_333):
            stream.write(RANDOM[start : start + 333_333])
        stream.finish()
        writer.commit()
    assert read(repository) == RANDOM


def test_an_object_of_the_first_release_still_opens(repository: Repository, store: MemoryStore) -> None:
    keys = EpochKeys(7, b"d" * 32, b"m" * 32, b"n" * 32)
    store.objects[NAME] = bytes.fromhex(
        "4c4254010100000007"
        + "73" * 32
        + "0100000021e58b096e85fccad160d45a7e5c1d2046a41e02b3fc9356502de592eb756bddc429"
        "000000001096a5f38540831d8968614c315bbfef38"
        "02000000127b11a11d752e3bcd33af4c5ee79a1e0c577c"
    )
    pieces = sealed.read_stream(store, NAME, {7: keys}.get, "data", IDENTITY)
    assert list(pieces) == [b"a" * 50, b"", b"\x00\xff"]


# --- nothing is sealed twice under one key and nonce


def test_the_same_content_never_looks_the_same(repository: Repository, store: MemoryStore) -> None:
    for name in ("one", "two"):
        write(repository, b"content", b"content", name=name)
    one, two = store.objects["one"], store.objects["two"]
    salts = {data[9:HEADER_BYTES] for data in (one, two)}
    ciphertexts = {frame[5:21] for data in (one, two) for frame in frames_of(data)}
    assert (len(salts), len(ciphertexts)) == (2, 4)


def test_each_frame_of_an_object_has_a_number_of_its_own(repository: Repository) -> None:
    sealer = Sealer(repository.keys, "data", IDENTITY, 3)
    assert [sealer.seal(b"same")[0] for _ignored in range(5)] == [0, 1, 2, 3, 4]


# --- what is not as it was written is found


def broken(repository: Repository, store: MemoryStore, data: bytes) -> None:
    store.objects[NAME] = data
    with expect.failure("object_damaged") as failure:
        read(repository)
    assert failure.value.details["object"] == NAME


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_every_flipped_byte_is_found(repository: Repository, store: MemoryStore, small: bytes, flip: int) -> None:
    for position in range(len(small)):
        broken(repository, store, small[:position] + bytes([small[position] ^ flip]) + small[position + 1 :])


def test_every_truncation_is_found(repository: Repository, store: MemoryStore, small: bytes) -> None:
    for length in range(len(small)):
        broken(repository, store, small[:length])


@pytest.mark.parametrize("more", [b"\x00", b"x" * 100])
def test_appended_bytes_are_found(repository: Repository, store: MemoryStore, small: bytes, more: bytes) -> None:
    broken(repository, store, small + more)
    broken(repository, store, small + frames_of(small)[-1])


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2), (1, 2), (0, 0, 1, 2), (0, 1), (2,), (2, 1, 0)])
def test_frames_cannot_change_places_or_be_left_out(
    repository: Repository, store: MemoryStore, order: tuple[int, ...]
) -> None:
    write(repository, b"1111", b"2222", b"3333")
    data = store.objects[NAME]
    frames = frames_of(data)
    broken(repository, store, data[:HEADER_BYTES] + b"".join(frames[number] for number in order))


def test_frames_cannot_be_taken_from_another_object(repository: Repository, store: MemoryStore) -> None:
    for name in ("one", "two"):
        write(repository, b"1111", b"2222", name=name)
    one, two = store.objects["one"], store.objects["two"]
    broken(repository, store, one[:HEADER_BYTES] + frames_of(one)[0] + frames_of(two)[1])
    broken(repository, store, two[:HEADER_BYTES] + b"".join(frames_of(one)))


def test_an_object_cannot_take_the_place_of_another(repository: Repository) -> None:
    write(repository, b"content")
    with expect.failure("object_damaged"):
        read(repository, identity="something/else")


@pytest.mark.parametrize(("written", "asked"), [("data", "metadata"), ("metadata", "data")])
def test_data_cannot_pass_for_metadata(repository: Repository, store: MemoryStore, written: str, asked: str) -> None:
    write(repository, b"content", role=written)
    with expect.failure("object_damaged") as failure:
        read(repository, role=asked)
    assert f"it is not sealed as {asked}" in failure.value.message
    code = {"data": b"\x01", "metadata": b"\x02"}[asked]
    store.objects[NAME] = store.objects[NAME][:4] + code + store.objects[NAME][5:]
    with expect.failure("object_damaged"):
        read(repository, role=asked)


@pytest.mark.parametrize("length", [0, sealed.TAG_BYTES - 1, 5 * FRAME_RAW_BYTES, 0xFFFFFFFF])
def test_an_impossible_length_is_refused_before_anything_is_read(
    repository: Repository, store: MemoryStore, length: int
) -> None:
    write(repository, b"content")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "size", lambda name: 1 << 40)
        broken(repository, store, store.objects[NAME][:HEADER_BYTES] + struct.pack(">BI", 2, length) + bytes(2 << 20))


def test_something_else_is_not_called_a_damaged_frame(repository: Repository, store: MemoryStore) -> None:
    store.objects[NAME] = b"-- PostgreSQL database dump" * 10
    with expect.failure("object_damaged") as failure:
        read(repository)
    assert "does not start like a sealed object" in failure.value.message


def test_an_object_that_is_missing_is_not_called_damaged(repository: Repository) -> None:
    with expect.failure("object_missing"):
        read(repository)


def test_a_frame_of_a_kind_that_is_not_known_yet_is_refused(repository: Repository, store: MemoryStore) -> None:
    sealer, flags = Sealer(repository.keys, "data", IDENTITY, 3), 0x08 | sealed.LAST
    frame = sealer._aead.encrypt(bytes(12), b"content", sealer.header + bytes([flags]))
    store.objects[NAME] = sealer.header + struct.pack(">BI", flags, len(frame)) + frame
    with expect.failure("format_too_new"):
        read(repository)
