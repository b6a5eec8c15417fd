# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a command's time goes, line by line for each kind of thread, found out by py-spy.

Three samplers look at the same process without stopping it: one sees every thread at every moment (wall), one only
threads that run or want to (running), one only the thread that holds the interpreter's lock (lock). A line that often
runs and seldom holds the lock computes in C while other threads go on; where the lock's share of all threads together
nears the wall time, threads wait for one another.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from ansible_collections.lifeboat.postgresql.tests.harness import CHECKOUT, server_user
from ansible_collections.lifeboat.postgresql.tests.harness.machine import CLEAN_ENVIRONMENT
from components import Cache, pip_install
from debian_packages import Unavailable

from .measuring import Command, Usage, measure
from .stage import Stage

_ENGINE = CHECKOUT / "plugins/module_utils/_engine"
_PACKAGE = "lifeboat/"
_RATE = 100
_LINES = 25
_VIEWS = {"wall": ["--idle"], "running": [], "lock": ["--gil"]}
_LEAST_SHARE = 0.005
ELSEWHERE = "outside Python"

# Samples by kind of thread and by line.
Samples = Mapping[str, Mapping[str, int]]


class Profiler:
    """Takes the place of plain measuring, and prints a profile of each command."""

    def __init__(self, cache_folder: Path, stage: Stage) -> None:
        """Fetch py-spy where it is missing. Raises Unavailable."""
        self._program = cache_folder / "py-spy/bin/py-spy"
        self._stage = stage
        files = Cache(cache_folder)
        with files.locked():
            if not self._program.exists():
                with files.new_component("py-spy") as (folder, _final):
                    pip_install("py-spy", folder)

    def measure(self, what: str, command: Command) -> Usage:
        """Run a command under observation."""
        samplers: dict[str, subprocess.Popen[bytes]] = {}

        def observe(pid: int) -> None:
            for view, options in _VIEWS.items():
                words = ["record", "--nonblocking", "--threads", "--full-filenames", "--format=raw", f"--rate={_RATE}"]
                samplers[view] = subprocess.Popen(
                    [self._program, *words, *options, f"--pid={pid}", f"--output={self._output(view)}"],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )

        usage = measure(command, server_user(), CLEAN_ENVIRONMENT, self._stage.log, observe)
        for view, sampler in samplers.items():
            if sampler.wait() or not self._output(view).exists():
                raise Unavailable(
                    f"py-spy could not look at {what}: it needs the right to trace processes, as root has"
                )
        views = {view: parse(self._output(view).read_text().splitlines()) for view in _VIEWS}
        print(f"\n{what}: {usage.seconds:.2f} s, CPU {usage.cpu_seconds:.2f} s", *report(views), sep="\n", flush=True)
        return usage

    def _output(self, view: str) -> Path:
        return self._stage.run_folder.path / f"profile-{view}"


def parse(stacks: Iterable[str]) -> Samples:
    """Count py-spy's raw samples by the innermost line of the engine, or of anything where the engine has none."""
    samples: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for stack in stacks:
        frames, _space, count = stack.rpartition(" ")
        thread, *calls = frames.split(";")
        places = [match[1] for call in calls if (match := re.search(r"\((.+:\d+)\)$", call))]
        ours = [place for place in places if place.startswith(_PACKAGE)]
        samples[_kind(thread)][(ours or places or [ELSEWHERE])[-1].removeprefix(_PACKAGE)] += int(count)
    return samples


def _kind(thread: str) -> str:
    """`thread (1234): Thread-2 (work)` is one of several threads that do `work`."""
    name = thread.partition("): ")[2]
    function = re.search(r"\((\w+)\)$", name)
    return function[1] if function else name or "MainThread"


def report(views: Mapping[str, Samples]) -> Iterator[str]:
    """A table for each kind of thread; shares are of its wall time."""
    for kind, lines in sorted(views["wall"].items(), key=lambda item: -sum(item[1].values())):
        counts = {view: samples.get(kind, {}) for view, samples in views.items()}
        whole = sum(lines.values())
        yield f"  {kind}: " + ", ".join(f"{view} {sum(found.values()) / _RATE:.2f} s" for view, found in counts.items())
        for line, count in Counter(lines).most_common(_LINES):
            if count < whole * _LEAST_SHARE:
                break
            shares = "".join(f"{found.get(line, 0) / whole:>8.1%}" for found in counts.values())
            yield f"  {shares}  {_short(line):<34} {_source(line)}"


def _short(line: str) -> str:
    """Of a file outside the engine only the end."""
    return "/".join(line.rsplit("/", 2)[-2:])


@cache
def _text(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def _source(line: str) -> str:
    name, _colon, number = line.partition(":")
    text = _text(_ENGINE / name)
    return text[int(number) - 1].strip()[:80] if number and len(text) >= int(number) else ""
