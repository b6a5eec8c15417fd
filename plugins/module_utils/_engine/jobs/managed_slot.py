# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiver's slot in the desired state: there when the cluster's WAL is streamed, gone when it is not."""

from __future__ import annotations

from ..postgres import slots
from ..postgres.connection import Connection
from ..receive_settings import ReceiveSpec


def desired(connection: Connection, spec: ReceiveSpec, *, check_mode: bool = False) -> bool:
    """Make or drop it; True when that is a change. One that a receiver still uses is refused, not dropped."""
    return (slots.ensure if spec.streams else slots.drop)(connection, spec.slot, check_mode=check_mode)
