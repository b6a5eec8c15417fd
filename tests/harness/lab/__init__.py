# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real systemd hosts for tests: each with its own init, sshd, PostgreSQL and address on a network with no way out."""

from __future__ import annotations

from .host import Host
from .lab import Lab

__all__ = ["Host", "Lab"]
