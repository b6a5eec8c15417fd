# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An incremental backup of a cluster in which nothing has happened since the last one."""

from __future__ import annotations

from collections import defaultdict

from ..measuring import Usage
from ..results import Finding, timed
from ..workbench import Workbench

NAMES = ("backup_unchanged_local",)


def run(bench: Workbench) -> list[Finding]:
    usages = defaultdict[str, list[Usage]](list)
    for contender in bench.contenders:
        bench.full_backup(contender)
        bench.backup(contender, "incremental")  # whatever has changed since
    for order in bench.rounds():
        for contender in order:
            usages[contender.name].append(bench.backup(contender, "incremental"))
    return [timed(NAMES[0], usages)]
