# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How frames are compressed: zstd, tuned to what frames hold.

What zstd means by level 3 is made for streams of any content. Frames are up to a mebibyte of pages,
and for these smaller tables, which stay in a processor's own cache, and matches of five bytes give
smaller frames in about half the time: see docs/decisions/0005. Any zstd reads them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Union

from ..thirdparty import require

Buffer = Union[bytes, bytearray, memoryview]

DEFAULT_LEVEL = 3
STORED = 0  # not compressed at all: what is in the frames has been compressed already
_TABLE_LOG = 15  # 2 ** 15 entries of 4 bytes
_MIN_MATCH = 5
_WINDOW_BYTES = 1 << 20  # a frame's


def compressor(level: int) -> Callable[[Buffer], bytes]:
    """What compresses one frame; not to be shared by threads."""
    if level == STORED:
        return bytes
    zstandard = require("zstandard")
    if level != DEFAULT_LEVEL:
        compress: Callable[[Buffer], bytes] = zstandard.ZstdCompressor(level=level).compress
        return compress
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level,
        source_size=_WINDOW_BYTES,
        strategy=zstandard.STRATEGY_FAST,
        hash_log=_TABLE_LOG,
        min_match=_MIN_MATCH,
        write_content_size=True,
    )
    tuned: Callable[[Buffer], bytes] = zstandard.ZstdCompressor(compression_params=parameters).compress
    return tuned
