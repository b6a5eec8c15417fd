# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmarks, each in a file of its own: the names that it gives to bench.json, and `run`.

To add one, write its file and list it here; they run in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..results import Finding
from ..workbench import Workbench
from . import (
    backup_full_local,
    backup_full_s3,
    backup_incremental_local,
    backup_unchanged_local,
    restore_after_30_incrementals,
    restore_delta_local,
    restore_local,
    restore_s3,
    wal_drain,
    wal_replay_local,
    wal_replay_s3,
)

_FILES = (
    backup_full_local,
    backup_incremental_local,
    backup_unchanged_local,
    restore_local,
    restore_delta_local,
    restore_after_30_incrementals,
    wal_drain,
    wal_replay_local,
    backup_full_s3,  # from here on the cluster archives into a bucket
    restore_s3,
    wal_replay_s3,
)


@dataclass(frozen=True)
class Benchmark:
    """What one file holds."""

    names: tuple[str, ...]
    run: Callable[[Workbench], list[Finding]]


BENCHMARKS = tuple(Benchmark(each.NAMES, each.run) for each in _FILES)


class UnknownBenchmark(Exception):
    """Nothing has this name; the message lists those there are."""


def chosen(names: Iterable[str]) -> list[Benchmark]:
    """The benchmarks that give these names, in their order; all of them for none."""
    wanted = set(names)
    known = {name for benchmark in BENCHMARKS for name in benchmark.names}
    if wanted - known:
        raise UnknownBenchmark(
            f"there is no benchmark named {', '.join(sorted(wanted - known))}; there are {', '.join(sorted(known))}"
        )
    return [benchmark for benchmark in BENCHMARKS if not wanted or wanted & set(benchmark.names)]
