# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WAL summaries made by hand, as a server of version 17 writes them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.wal_summaries import Summary
from made import crc32c

NO_LIMIT = 0xFFFFFFFF
CHUNK = 1 << 16


def entry(
    blocks: Iterable[int],
    relation: tuple[int, int, int] = (1663, 1, 1),
    *,
    fork: int = 0,
    limit: int = NO_LIMIT,
    as_bits: bool = False,
) -> bytes:
    """What is said of one relation."""
    chunks: dict[int, list[int]] = {}
    for block in blocks:
        chunks.setdefault(block // CHUNK, []).append(block % CHUNK)
    elements = [chunks.get(number, []) for number in range(max(chunks, default=-1) + 1)]
    if as_bits:
        elements = [bits(numbers) if numbers else [] for numbers in elements]
    usage = [len(each) for each in elements]
    flat = [element for each in elements for element in each]
    head = struct.pack("=IIIiII", *relation, fork, limit, len(elements))
    return head + struct.pack(f"={len(usage)}H{len(flat)}H", *usage, *flat)


def bits(numbers: Sequence[int]) -> list[int]:
    """A chunk with a bit for each block."""
    elements = [0] * (CHUNK // 16)
    for number in numbers:
        elements[number // 16] |= 1 << number % 16
    return elements


def summary(folder: Path, start: int, end: int, *entries: bytes, timeline: int = 1) -> Summary:
    """A file with these entries."""
    data = struct.pack("=I", 0x652B137B) + b"".join(entries) + bytes(24)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{timeline:08X}{start:016X}{end:016X}.summary"
    path.write_bytes(data + struct.pack("=I", crc32c(data)))
    return Summary(path, timeline, start, end)
