# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of the benchmarks has found: for programs as `bench.json`, for people as a table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .measuring import Usage

_MEBIBYTE = 1 << 20
_NAME_WIDTH = 34


@dataclass(frozen=True)
class Comparison:
    """One number of ours beside the peer's; a ratio below 1 is better than the peer."""

    name: str
    unit: str
    ours: float
    peer: float | None
    peer_name: str | None

    def as_json(self) -> dict[str, Any]:
        """An element of bench.json."""
        return {
            "name": self.name,
            "ours": _rounded(self.ours),
            "peer": _rounded(self.peer),
            "peer_name": self.peer_name,
            "ratio": _rounded(self.ours / self.peer) if self.peer else None,
            "unit": self.unit,
        }


@dataclass(frozen=True)
class Finding:
    """The runs of one benchmark by contender: ours first, the peer second; others are only shown.

    A column is one kind of number, the first the one that the benchmark is about.
    """

    name: str
    columns: Sequence[tuple[str, str]]  # what, unit
    runs: Mapping[str, Sequence[Sequence[float]]]

    def medians(self) -> dict[str, list[float]]:
        """Each contender's numbers, column by column."""
        return {who: [median(column) for column in zip(*runs, strict=True)] for who, runs in self.runs.items()}

    def comparison(self, name: str, column: int) -> Comparison:
        """Ours and the peer's of one column."""
        medians = list(self.medians().items())
        unit = self.columns[column][1]
        peer_name, peer = medians[1] if len(medians) > 1 else (None, None)
        return Comparison(name, unit, medians[0][1][column], peer[column] if peer else None, peer_name)

    def comparisons(self) -> list[Comparison]:
        """What goes into bench.json: the first column, and for timed commands the memory."""
        found = [self.comparison(self.name, 0)]
        for index, (what, _unit) in enumerate(self.columns):
            if what == "memory":
                found.append(self.comparison(f"memory_peak_{self.name}", index))
        return found

    def table(self) -> list[str]:
        """Lines for people."""
        medians = self.medians()
        heading = "".join(f"{f'{what}, {unit}':>14}" for what, unit in self.columns)
        lines = [f"{self.name:<{_NAME_WIDTH}}{heading}"]
        for who, numbers in medians.items():
            lines.append(f"  {who:<{_NAME_WIDTH - 2}}" + "".join(f"{number:>14,.2f}" for number in numbers))
        if len(medians) > 1:
            ours, peer = list(medians.values())[:2]
            ratios = [f"{a / b:>14.2f}" if b else f"{'-':>14}" for a, b in zip(ours, peer, strict=True)]
            lines.append(f"  {'ratio':<{_NAME_WIDTH - 2}}" + "".join(ratios))
        return lines


def timed(name: str, runs: Mapping[str, Sequence[Usage]]) -> Finding:
    """Commands that were measured."""
    numbers = {
        who: [(usage.seconds, usage.cpu_seconds, usage.peak_bytes / _MEBIBYTE) for usage in usages]
        for who, usages in runs.items()
    }
    return Finding(name, (("wall", "s"), ("CPU", "s"), ("memory", "MiB")), numbers)


def counted(name: str, runs: Mapping[str, Sequence[int]]) -> Finding:
    """Bytes that were counted."""
    return Finding(name, (("size", "MiB"),), {who: [(n / _MEBIBYTE,) for n in sizes] for who, sizes in runs.items()})


def as_json(findings: Iterable[Finding]) -> str:
    """The whole bench.json."""
    entries = [comparison.as_json() for finding in findings for comparison in finding.comparisons()]
    return json.dumps(entries, indent=1) + "\n"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
