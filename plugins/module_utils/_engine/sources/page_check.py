# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judging pages while they are read from under a running server."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..postgres import pages
from ..postgres.pages import BadPage
from ..postgres.wal_names import Lsn
from ..repository.compression import Buffer
from .content import Content

_ATTEMPTS = 5
_PAUSE = 0.02

Ranges = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Settled:
    """Pages after torn ones were read again.

    `bad` are blocks that stay bad. `excused` are pages that look bad although WAL replay will write
    them anew, if their LSN is true: that can only be told when the backup's last LSN is known.
    """

    data: Buffer
    bad: list[int]
    excused: list[BadPage]


@dataclass(frozen=True)
class PageCheck:
    """Whether pages carry checksums, and from where on a bad page is no finding.

    A page changed since the backup's start may be read half written; replaying WAL writes it whole.
    With `trusts_previous`, pages whose bytes the last backup has were found good then.
    """

    checksums: bool
    start_lsn: Lsn
    trusts_previous: bool = False

    def _judged(self, data: Buffer, first_block: int, ranges: Ranges | None) -> tuple[list[int], list[BadPage]]:
        """Blocks that no running change explains, and pages that one may explain."""
        found = pages.bad_pages(data, first_block, checksums=self.checksums, ranges=ranges)
        suspects = [page.block for page in found if page.lsn < self.start_lsn]
        return suspects, [page for page in found if page.lsn >= self.start_lsn]

    def settled(
        self, content: Content, data: Buffer, offset: int, first_block: int, ranges: Ranges | None = None
    ) -> Settled:
        """The data, copied if torn pages had to be read again.

        `data` was read at `offset` of the file, where block `first_block` of the relation is. Only
        pages in `ranges` of it are looked at, if given.
        """
        suspects, excused = self._judged(data, first_block, ranges)
        if not suspects and len(data) % pages.PAGE_BYTES == 0:
            return Settled(data, [], excused)
        if not content.can_be_read_again:
            cut = [first_block + len(data) // pages.PAGE_BYTES] if len(data) % pages.PAGE_BYTES else []
            return Settled(data, suspects + cut, excused)
        mended = bytearray(data)
        for _number in range(_ATTEMPTS):
            time.sleep(_PAUSE)
            for block in suspects:
                start = (block - first_block) * pages.PAGE_BYTES
                page = content.read_again(pages.PAGE_BYTES, offset + start)
                if len(page) == pages.PAGE_BYTES:  # else truncated meanwhile
                    mended[start : start + pages.PAGE_BYTES] = page
            suspects, excused = self._judged(mended, first_block, ranges)
            cut = self._cut(content, mended, offset, first_block)
            if not suspects and not cut:
                break
        return Settled(mended, suspects + cut, excused)

    def _cut(self, content: Content, data: Buffer, offset: int, first_block: int) -> list[int]:
        """The last block, if the file ends in the middle of it; one that is just being written grows to its end."""
        whole = len(data) // pages.PAGE_BYTES
        if len(data) % pages.PAGE_BYTES == 0:
            return []
        ends = len(content.read_again(pages.PAGE_BYTES, offset + whole * pages.PAGE_BYTES))
        return [first_block + whole] if 0 < ends < pages.PAGE_BYTES else []
