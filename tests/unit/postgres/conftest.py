# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control file made by hand, for tests that need no server."""

from __future__ import annotations

from collections.abc import Callable

import made
import pytest


@pytest.fixture
def control_bytes() -> Callable[..., bytes]:
    """Makes a control file; `changes` are {offset: (format, value)}."""
    assert made.crc32c(b"123456789") == 0xE3069283  # the check value that CRC catalogues give
    return made.control_bytes
