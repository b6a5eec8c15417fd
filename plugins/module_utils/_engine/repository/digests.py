# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Digests that tell whether content has changed.

XXH3 with 128 bits, seeded with a secret of the repository: as fast as memory, and nobody without
the key can make two pages that look the same. What protects against damage is the authentication
of every frame, not these.
"""

from __future__ import annotations

from typing import Any, Union

from ..thirdparty import require
from .block_map import PAGE_BYTES

Buffer = Union[bytes, bytearray, memoryview]


class Digester:
    """Digests pages and whole files."""

    def __init__(self, seed: int) -> None:
        xxhash = require("xxhash")
        self._seed = seed
        self._of_page = xxhash.xxh3_128_digest
        self._of_file = xxhash.xxh3_128

    def pages(self, data: Buffer) -> bytes:
        """The digest of each page, one after another; a last page may be shorter."""
        view, seed, digest = memoryview(data), self._seed, self._of_page
        return b"".join(
            [digest(view[start : start + PAGE_BYTES], seed=seed) for start in range(0, len(view), PAGE_BYTES)]
        )

    def file(self) -> Any:
        """An object with `update` and `hexdigest` for a whole file."""
        return self._of_file(seed=self._seed)
