# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A full backup, where the repository holds another one already."""

from __future__ import annotations

from collections import defaultdict

from ..measuring import Usage
from ..results import Finding, timed
from ..workbench import Workbench

NAMES = ("backup_full_local",)


def run(bench: Workbench, name: str = NAMES[0]) -> list[Finding]:
    for contender in bench.contenders:
        bench.full_backup(contender)
    usages = defaultdict[str, list[Usage]](list)
    for order in bench.rounds():
        for contender in order:
            usages[contender.name].append(bench.backup(contender, "full"))
        if bench.base_backup:
            command = bench.base_backup.backup(bench.new_directory("basebackup"))
            usages[bench.base_backup.name].append(bench.measured(bench.base_backup.name, command))
            bench.new_directory("basebackup")
    return [timed(name, usages)]
