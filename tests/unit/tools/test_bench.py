# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks make of their measurements; nothing is measured here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from harness import CHECKOUT

sys.path.insert(0, str(CHECKOUT / "tools"))
sys.path.insert(0, str(CHECKOUT / "tools/dev"))
from bench import benchmarks, profiling, results
from bench.measuring import CommandFailed, Usage, measure
from harness.machine import CLEAN_ENVIRONMENT, server_user

MEBIBYTE = 1 << 20
TIMES = {
    "lifeboat": [Usage(3.0, 5.0, 80 * MEBIBYTE), Usage(1.0, 2.0, 90 * MEBIBYTE), Usage(2.0, 4.0, 70 * MEBIBYTE)],
    "peer 1.0": [Usage(4.0, 1.0, 20 * MEBIBYTE), Usage(9.0, 2.0, 40 * MEBIBYTE), Usage(4.0, 3.0, 40 * MEBIBYTE)],
    "bystander": [Usage(0.5, 0.5, 1 * MEBIBYTE)],
}


def test_a_timed_benchmark_gives_its_time_and_its_memory_as_medians_and_ratios() -> None:
    assert json.loads(results.as_json([results.timed("backup_full_local", TIMES)])) == [
        {"name": "backup_full_local", "ours": 2.0, "peer": 4.0, "peer_name": "peer 1.0", "ratio": 0.5, "unit": "s"},
        {
            "name": "memory_peak_backup_full_local",
            "ours": 80.0,
            "peer": 40.0,
            "peer_name": "peer 1.0",
            "ratio": 2.0,
            "unit": "MiB",
        },
    ]


def test_counted_bytes_have_no_memory() -> None:
    (entry,) = json.loads(
        results.as_json([results.counted("growth", {"lifeboat": [MEBIBYTE], "peer": [4 * MEBIBYTE]})])
    )
    assert (entry["name"], entry["ours"], entry["ratio"], entry["unit"]) == ("growth", 1.0, 0.25, "MiB")


@pytest.mark.parametrize("peer", [{}, {"peer": [0]}])
def test_without_a_peers_number_there_is_no_ratio(peer: dict[str, list[int]]) -> None:
    (entry,) = json.loads(results.as_json([results.counted("growth", {"lifeboat": [MEBIBYTE], **peer})]))
    assert entry["ratio"] is None
    assert results.counted("growth", {"lifeboat": [MEBIBYTE], **peer}).table()


def test_the_table_shows_every_contender_and_the_ratios() -> None:
    heading, *rows = results.timed("backup_full_local", TIMES).table()
    assert heading.split(maxsplit=1) == ["backup_full_local", "wall, s        CPU, s   memory, MiB"]
    assert [row.split() for row in rows] == [
        ["lifeboat", "2.00", "4.00", "80.00"],
        ["peer", "1.0", "4.00", "2.00", "40.00"],
        ["bystander", "0.50", "0.50", "1.00"],
        ["ratio", "0.50", "2.00", "2.00"],
    ]


def test_benchmarks_are_chosen_by_any_of_their_names() -> None:
    assert len(benchmarks.chosen([])) == len(benchmarks.BENCHMARKS)
    (chosen,) = benchmarks.chosen(["growth_incremental_local", "backup_incremental_local"])
    assert "growth_incremental_local" in chosen.names


def test_an_unknown_benchmark_is_named_with_the_known_ones() -> None:
    with pytest.raises(benchmarks.UnknownBenchmark, match=r"named nonsense; there are .*backup_full_local"):
        benchmarks.chosen(["nonsense", "restore_local"])


def test_no_name_is_given_twice() -> None:
    names = [name for benchmark in benchmarks.BENCHMARKS for name in benchmark.names]
    assert len(names) == len(set(names))


def shell(script: str, log: Path) -> Usage:
    return measure(["/bin/sh", "-c", script], server_user(), CLEAN_ENVIRONMENT, log)


def test_the_memory_of_children_counts(tmp_path: Path) -> None:
    usage = shell(f"{sys.executable} -c 'b\"x\" * (64 << 20)'; true", tmp_path / "log")
    assert usage.peak_bytes > 64 * MEBIBYTE


def test_what_a_failed_command_wrote_is_shown(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"exit 3\nno luck"):
        shell("echo no luck; exit 3", tmp_path / "log")


STACKS = """\
thread (7): MainThread;main (lifeboat/cli.py:200);wait (/usr/lib/python3.11/threading.py:320) 30
thread (8): Thread-1 (work);run (/usr/lib/python3.11/threading.py:9);seal (lifeboat/repository/sealed.py:77) 10
thread (9): Thread-2 (work);seal (lifeboat/repository/sealed.py:77);ascontiguous (numpy/core.py:3) 5
thread (9): Thread-2 (work);run (/usr/lib/python3.11/threading.py:9) 2
thread (10) 1
"""


def test_samples_are_counted_by_the_innermost_line_of_the_engine() -> None:
    samples = profiling.parse(STACKS.splitlines())
    assert samples["work"] == {"repository/sealed.py:77": 15, "/usr/lib/python3.11/threading.py:9": 2}
    assert samples["MainThread"] == {"cli.py:200": 30, profiling.ELSEWHERE: 1}


def test_a_profile_shows_what_ran_and_what_held_the_lock() -> None:
    wall = profiling.parse(STACKS.splitlines())
    views = {"wall": wall, "running": wall, "lock": {"work": {"repository/sealed.py:77": 3}}}
    lines = list(profiling.report(views))
    assert lines[0].split(":")[0].strip() == "MainThread"  # it has the most samples
    (sealing,) = [line for line in lines if "sealed.py:77" in line]
    assert sealing.split()[:4] == ["88.2%", "88.2%", "17.6%", "repository/sealed.py:77"]
