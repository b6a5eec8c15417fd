# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An incremental backup after ten thousand random rows were updated: its time, and what it adds to the repository."""

from __future__ import annotations

from collections import defaultdict

from ..measuring import Usage
from ..results import Finding, counted, timed
from ..workbench import Workbench

NAMES = ("backup_incremental_local", "growth_incremental_local")


def run(bench: Workbench) -> list[Finding]:
    for contender in bench.contenders:
        bench.full_backup(contender)
    usages = defaultdict[str, list[Usage]](list)
    growths = defaultdict[str, list[int]](list)
    for order in bench.rounds():
        bench.update_random_rows()
        for contender in order:
            before = contender.stored_bytes()
            usages[contender.name].append(bench.backup(contender, "incremental"))
            growths[contender.name].append(contender.stored_bytes() - before)
    return [timed(NAMES[0], usages), counted(NAMES[1], growths)]
