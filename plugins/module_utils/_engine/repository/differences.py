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

from typing import Any

from ..thirdparty import require
from .compression import Buffer

ENTRY_BYTES = 16
_WORD = "<u4"
_LANES = ENTRY_BYTES // 4
_PAGE_WORDS = 8192 // 4
# Of a page's header: the word with the place of the special space and the page's size and layout version.
_SPECIAL_WORD = 4
_INDEX_PAGE = (8192 | 4) << 16 | (8192 - 16)
# The second line pointer: on most leaves the first is of the high key, which may be shorter.
_LINE_POINTER_WORD = 7
_LENGTH_SHIFT = 17


def pay(raw: Buffer) -> bool:
    """Whether these are pages, most of which are of an index with entries of 16 bytes."""
    if not raw or len(raw) % (4 * _PAGE_WORDS):
        return False
    pages = require("numpy").frombuffer(raw, _WORD).reshape(-1, _PAGE_WORDS)
    entries = (pages[:, _SPECIAL_WORD] == _INDEX_PAGE) & (pages[:, _LINE_POINTER_WORD] >> _LENGTH_SHIFT == ENTRY_BYTES)
    return bool(2 * entries.sum() > len(pages))


def taken(raw: Buffer) -> Any:
    """The differences, as an array; `raw` must be whole entries."""
    words = require("numpy").frombuffer(raw, _WORD)
    differences = words.copy()
    differences[_LANES:] -= words[:-_LANES]
    return differences


def added_up(differences: bytes) -> bytes:
    """The bytes that these are the differences of."""
    numpy = require("numpy")
    words = numpy.frombuffer(differences, _WORD).reshape(-1, _LANES)
    return bytes(numpy.cumsum(words, axis=0, dtype=_WORD).tobytes())
