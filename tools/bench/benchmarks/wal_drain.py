# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archiving a backlog of 150 segments, and what the server's call for a segment costs that is archived already."""

from __future__ import annotations

from collections import defaultdict

from ..results import Finding
from ..wal_backlog import backlog
from ..workbench import Workbench

NAMES = ("wal_drain", "wal_foreground")


def run(bench: Workbench) -> list[Finding]:
    drained, called = defaultdict[str, list[list[float]]](list), defaultdict[str, list[list[float]]](list)
    waiting = backlog(bench)
    for order in bench.rounds():
        for contender in order:
            waiting.reset(contender)
            drained[contender.name].append([waiting.drain(contender)])
    for contender in bench.contenders:
        called[contender.name] = [[1000 * seconds] for seconds in waiting.calls(contender)]
    for contender in bench.contenders:  # everything is archived by everybody in the end
        waiting.reset(contender)
        waiting.drain(contender)
    return [Finding(NAMES[0], [("time", "s")], drained), Finding(NAMES[1], [("time", "ms")], called)]
