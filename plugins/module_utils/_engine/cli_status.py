# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `lifeboat status`: each cluster is looked at as its owner, and one that cannot be hides no other."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any

from .as_owner import owner_for_cluster, run_job
from .clock import SystemClock
from .errors import LifeboatError
from .jobs.status import gather as status
from .jobs.status import summary as status_summary
from .ports import ProgressSink
from .report.terminal import TerminalSink
from .repository.access import prepare
from .specs import ArchiveSpec, ClusterSpec

Described = Callable[[argparse.Namespace], tuple[ClusterSpec, ArchiveSpec]]


def run(clusters: Sequence[tuple[str, argparse.Namespace]], described: Described, as_json: bool) -> int:
    """Print how the clusters are; the worst of them is the exit status."""
    found = [_look(name, arguments, described) for name, arguments in clusters]
    level = max((each["level"] for each in found), default=2)
    if as_json:
        sys.stdout.write(json.dumps({"level": level, "clusters": found}) + "\n")
        return level
    screens = ["\n".join(status_summary.lines(each)) for each in found]
    sys.stdout.write("\n\n".join(screens or ["no cluster is described"]) + "\n")
    return level


def _look(name: str, arguments: argparse.Namespace, described: Described) -> dict[str, Any]:
    try:
        cluster, archive = described(arguments)
        for copy in archive.copies:
            prepare(copy.repository, ())

        def task(_sink: ProgressSink) -> dict[str, Any]:
            return status_summary.values(status.gather(cluster, archive, SystemClock()))

        first = archive.required[0].repository
        owner = owner_for_cluster(cluster, first)
        return run_job(owner, first, status.THIRD_PARTY, task, TerminalSink(sys.stderr))
    except LifeboatError as error:
        return status_summary.failed(name, error)
