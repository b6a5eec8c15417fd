# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command behind `make bench`; tools/bench/bench.sh calls it with everything set up."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.lifeboat.postgresql.tests.harness import BUILD, Postgres
from components import default_cache, say
from debian_packages import Unavailable

from . import bucket
from .benchmarks import Benchmark, UnknownBenchmark, chosen
from .contenders import pgbackrest_package
from .contenders.base import WalContender
from .contenders.basebackup import PgBaseBackup
from .contenders.lifeboat import Lifeboat
from .contenders.pgbackrest import PgBackRest
from .measuring import CommandFailed
from .profiling import Profiler
from .results import Finding, as_json
from .stage import Stage, stage
from .workbench import Workbench, settings
from .yardstick import BYTES_PER_SCALE, Yardstick

# Of the cluster's size: itself, its template, a few full backups of each contender and a restore of each.
_SPACE_FACTOR = 8


def main() -> int:
    arguments = _parsed()
    os.umask(0o022)
    for variable in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[variable]  # libpq would take them for defaults
    cache = default_cache()
    try:
        benchmarks = chosen(arguments.only)
        with stage(BUILD, cache, arguments.scale * BYTES_PER_SCALE * _SPACE_FACTOR) as made:
            findings: list[Finding] = []
            for found in _run(arguments, benchmarks, made, cache):
                findings += found
                if not arguments.profile:
                    (BUILD / "bench.json").write_text(as_json(findings))
                    print("\n".join(line for finding in found for line in ["", *finding.table()]), flush=True)
    except (Unavailable, UnknownBenchmark, CommandFailed) as error:
        print(f"lifeboat: {error}", file=sys.stderr)
        return 1
    return 0


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=int, default=300, help="the size of the cluster: 300 is 7 GB")
    parser.add_argument("--runs", type=int, default=3, help="how often each contender does each work")
    parser.add_argument(
        "--only", type=lambda text: [name for name in text.split(",") if name], default=[], help="names"
    )
    parser.add_argument("--pg", type=int, default=17, help="PostgreSQL's major version")
    parser.add_argument(
        "--profile", action="store_true", help="run only ours, once, and show where its time goes; write no bench.json"
    )
    return parser.parse_args()


def _run(
    arguments: argparse.Namespace, benchmarks: list[Benchmark], made: Stage, cache: Path
) -> Iterator[list[Finding]]:
    """Everything is set up, then one benchmark after another gives what it has found."""
    postgres = Postgres(arguments.pg, made.run_folder)
    yardstick = Yardstick(postgres, cache, arguments.scale)
    with yardstick.copy(made.disk, made.sockets, settings(arguments.pg)) as cluster:
        contenders: list[WalContender] = [Lifeboat(cluster, made)]
        base_backup, profiler, peer = None, None, None
        if arguments.profile:
            profiler = Profiler(cache, made)
        else:
            base_backup = PgBaseBackup(cluster)
            try:
                peer = pgbackrest_package.ensure(cache)
                contenders.append(PgBackRest(peer, cluster, made))
            except Unavailable as error:
                say(f"no pgBackRest to compare with: {error}")
        ((size,),) = cluster.sql("SELECT sum(pg_database_size(oid))::bigint FROM pg_database")
        runs = 1 if profiler else arguments.runs
        print(
            f"scale {arguments.scale}, {size / 1e9:.1f} GB, PostgreSQL {postgres.version}, {os.cpu_count()} processors,"
            f" Python {platform.python_version()}, {runs} runs",
            flush=True,
        )

        def in_bucket() -> list[WalContender]:
            ours, theirs = bucket.places(made, 2)
            stored: list[WalContender] = [Lifeboat(cluster, made, ours)]
            return [*stored, PgBackRest(peer, cluster, made, theirs)] if peer else stored

        meter = profiler.measure if profiler else None
        bench = Workbench(made, cluster, yardstick.accounts, contenders, base_backup, runs, meter, in_bucket)
        for benchmark in benchmarks:
            yield benchmark.run(bench)


if __name__ == "__main__":
    sys.exit(main())
