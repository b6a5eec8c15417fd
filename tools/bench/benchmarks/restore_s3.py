# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore of a full backup out of a bucket."""

from __future__ import annotations

from ..results import Finding
from ..workbench import Workbench
from . import restore_local

NAMES = ("restore_s3",)


def run(bench: Workbench) -> list[Finding]:
    return restore_local.run(bench.in_bucket, NAMES[0])
