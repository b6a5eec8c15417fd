# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery over 150 segments from the archive in a bucket."""

from __future__ import annotations

from ..results import Finding
from ..workbench import Workbench
from . import wal_replay_local

NAMES = ("wal_replay_s3",)


def run(bench: Workbench) -> list[Finding]:
    return wal_replay_local.run(bench.in_bucket, NAMES[0])
