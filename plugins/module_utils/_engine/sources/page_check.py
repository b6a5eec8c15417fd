# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging pages while they are read from under a running server."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from ..postgres import pages
from ..postgres.wal_names import Lsn

_ATTEMPTS = 5
_PAUSE = 0.02


@dataclass(frozen=True)
class PageCheck:
    """Whether pages carry checksums, and from where on a bad page is no finding.

    A page changed since the backup's start may be read half written; replaying WAL writes it whole.
    """

    checksums: bool
    start_lsn: Lsn

    def suspects(self, data: bytes | bytearray, first_block: int) -> list[int]:
        """Blocks that no running change explains."""
        found = pages.bad_pages(data, first_block, checksums=self.checksums)
        return [page.block for page in found if page.lsn < self.start_lsn]

    def settled(self, handle: int, data: bytes, offset: int, first_block: int) -> tuple[bytes | bytearray, list[int]]:
        """The data with torn pages read again, and the blocks that stay bad.

        `data` was read at `offset` of the file, where block `first_block` of the relation is.
        """
        suspects = self.suspects(data, first_block)
        if not suspects:
            return data, []
        mended = bytearray(data)
        for _number in range(_ATTEMPTS):
            time.sleep(_PAUSE)
            for block in suspects:
                start = (block - first_block) * pages.PAGE_BYTES
                page = os.pread(handle, pages.PAGE_BYTES, offset + start)
                if len(page) == pages.PAGE_BYTES:  # else truncated meanwhile
                    mended[start : start + pages.PAGE_BYTES] = page
            suspects = self.suspects(mended, first_block)
            if not suspects:
                break
        return mended, suspects
