# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A restore of a full backup into a new directory."""

from __future__ import annotations

from collections import defaultdict

from ..measuring import Usage
from ..results import Finding, timed
from ..workbench import Workbench

NAMES = ("restore_local",)


def run(bench: Workbench, name: str = NAMES[0]) -> list[Finding]:
    usages = defaultdict[str, list[Usage]](list)
    directory = bench.new_directory("restored")
    for contender in bench.contenders:
        bench.restore(contender, bench.full_backup(contender), directory)  # brings the repository into the page cache
    for order in bench.rounds():
        for contender in order:
            usages[contender.name].append(bench.restore(contender, bench.full_backup(contender), directory))
    bench.new_directory("restored")
    return [timed(name, usages)]
