# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recovery over 150 segments from the archive, from the start of the server until it is open."""

from __future__ import annotations

from collections import defaultdict

from ..measuring import Usage
from ..results import Finding
from ..wal_backlog import backlog
from ..workbench import Workbench

NAMES = ("wal_replay_local",)


def run(bench: Workbench, name: str = NAMES[0]) -> list[Finding]:
    usages = defaultdict[str, list[Usage]](list)
    waiting = backlog(bench)
    for contender in bench.contenders:
        waiting.reset(contender)
        waiting.drain(contender)
    for order in bench.rounds():
        for contender in order:
            directory = bench.new_directory("replayed")
            usages[contender.name].append(waiting.replay(contender, directory))
    bench.new_directory("replayed")
    return [Finding(name, [("time", "s")], {who: [[each.seconds] for each in used] for who, used in usages.items()})]
