# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Index entries as differences, which compress many times better.

The leaves of a b-tree on a number are entries of 16 bytes: where the row is, and the number. Both
mostly grow from entry to entry, which no byte-wise compression sees; the difference to the entry
before is nearly always the same. So each word of 32 bits is replaced by its difference to the
word 16 bytes before it, through the whole frame. See docs/decisions/0014.
"""

from __future__ import annotations

import struct
from typing import Any

from ..thirdparty import require
from .compression import Buffer

ENTRY_BYTES = 16
_PAGE_BYTES = 8192
_LANES = ENTRY_BYTES // 4
_WORDS = "<u4"
_WORD = struct.Struct("<I")
# Of a page's header: the word with the place of the special space and the page's size and layout version.
_HEADER_AT = 16
_INDEX_PAGE = (_PAGE_BYTES | 4) << 16 | (_PAGE_BYTES - 16)
# The second line pointer: on most leaves the first is of the high key, which may be shorter.
_POINTER_AT = 28
_LENGTH_SHIFT = 17
_LOOKED_AT = 16


def pay(raw: Buffer) -> bool:
    """Whether these are pages, most of which, of some that are looked at, are of an index with entries of 16 bytes."""
    if len(raw) % _PAGE_BYTES:
        return False
    pages = range(0, len(raw), max(1, len(raw) // _PAGE_BYTES // _LOOKED_AT) * _PAGE_BYTES)
    return 2 * sum(_is_leaf(raw, page) for page in pages) > len(pages)


def _is_leaf(raw: Buffer, page: int) -> bool:
    (header,) = _WORD.unpack_from(raw, page + _HEADER_AT)
    (pointer,) = _WORD.unpack_from(raw, page + _POINTER_AT)
    return bool(header == _INDEX_PAGE and pointer >> _LENGTH_SHIFT == ENTRY_BYTES)


def taken(raw: Buffer) -> Any:
    """The differences, as an array; `raw` must be whole entries."""
    words = require("numpy").frombuffer(raw, _WORDS)
    differences = words.copy()
    differences[_LANES:] -= words[:-_LANES]
    return differences


def added_up(differences: bytes) -> bytes:
    """The bytes that these are the differences of."""
    numpy = require("numpy")
    words = numpy.frombuffer(differences, _WORDS).reshape(-1, _LANES)
    sums = numpy.empty_like(words)
    for lane in range(_LANES):  # one by one: only so do other threads go on meanwhile
        numpy.add.accumulate(words[:, lane], out=sums[:, lane])
    return bytes(sums.tobytes())
