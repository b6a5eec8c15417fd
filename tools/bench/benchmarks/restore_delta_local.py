# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A delta restore over the cluster as it was before ten thousand random rows were updated."""

from __future__ import annotations

from collections import defaultdict

from ..measuring import Usage
from ..results import Finding, timed
from ..workbench import Workbench

NAMES = ("restore_delta_local",)


def run(bench: Workbench) -> list[Finding]:
    usages = defaultdict[str, list[Usage]](list)
    places = {
        contender.name: bench.new_directory(f"delta-{number}") for number, contender in enumerate(bench.contenders)
    }
    old, new = {}, {}
    for contender in bench.contenders:
        bench.backup(contender, "full")
        old[contender.name] = contender.newest()
        bench.restore(contender, old[contender.name], places[contender.name])
    bench.update_random_rows()
    for contender in bench.contenders:
        bench.backup(contender, "incremental")
        new[contender.name] = contender.newest()
    for order in bench.rounds():
        for contender in order:
            place = places[contender.name]
            usages[contender.name].append(bench.restore(contender, new[contender.name], place, delta=True))
            bench.restore(contender, old[contender.name], place, delta=True)
    for number, _contender in enumerate(bench.contenders):
        bench.new_directory(f"delta-{number}")
    return [timed(NAMES[0], usages)]
