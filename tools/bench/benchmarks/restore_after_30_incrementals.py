# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our restore of an incremental that thirty others came before, each after random updates, against that of a full."""

from __future__ import annotations

from collections import defaultdict

from ..measuring import Usage
from ..results import Finding, timed
from ..workbench import Workbench

NAMES = ("restore_after_30_incrementals",)
_INCREMENTALS = 30


def run(bench: Workbench) -> list[Finding]:
    ours = bench.ours
    bench.full_backup(ours)
    for _number in range(_INCREMENTALS):
        bench.update_random_rows()
        bench.backup(ours, "incremental")
    fragmented = ours.newest()
    bench.backup(ours, "full")  # of the same data, so that there is as much to write
    backups = {ours.name: fragmented, f"{ours.name}, of a full": ours.newest()}

    directory = bench.new_directory("restored")
    usages = defaultdict[str, list[Usage]](list)
    for backup in backups.values():
        bench.restore(ours, backup, directory)  # brings the repository into the page cache
    for number in range(bench.runs):
        for name, backup in list(backups.items())[:: 1 if number % 2 == 0 else -1]:
            usages[name].append(bench.restore(ours, backup, directory))
    bench.new_directory("restored")
    return [timed(NAMES[0], usages)]
