# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Block maps for tests."""

from __future__ import annotations

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.block_map import (
    DIGEST_BYTES,
    BlockMap,
    Places,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.packs import PlacedFrame
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.sealed import Frame


def frame(number: int, pack: str = "a") -> PlacedFrame:
    return PlacedFrame(pack * 32, Frame(number, 41 + 1000 * number, 1000))


def digests(pages: int) -> bytes:
    return bytes(pages * DIGEST_BYTES)


def places_of(places: Places) -> list[tuple[PlacedFrame, int]]:
    """Each page's frame and place in it, one by one."""
    return [(places.frames[number], start) for number, start in zip(places.frame.tolist(), places.start.tolist())]


def pages_of(block_map: BlockMap) -> list[tuple[PlacedFrame, int]]:
    return places_of(block_map.places)
