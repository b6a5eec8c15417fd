# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last words of a test run: which parts ran, and what was skipped and why."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from .postgres import KNOWN_VERSIONS, main_version, versions

outcomes: dict[str, Counter[str]] = defaultdict(Counter)
skipped: Counter[str] = Counter()


def parts_of(item: pytest.Item) -> list[str]:
    """What a test counts for: its folder below tests/, with the PostgreSQL version or Ansible where it uses them."""
    folder = item.path.relative_to(Path(__file__).parents[1]).parts[0]
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    found = [f"{folder}, PostgreSQL {parameters['postgres']}"] if "postgres" in parameters else []
    if folder != "fleet" and "installed_collection" in getattr(item, "fixturenames", ()):
        found.append(f"{folder}, Ansible with the installed collection")
    return found or [folder]


def scope_of(node_id: str) -> str:
    """With which tests one shares a worker: those of its file, or all of a version that few tests use."""
    version = re.search(r"[\[-]pg([0-9]+)[\]-]", node_id)
    if version and int(version[1]) != main_version():
        return f"PostgreSQL {version[1]}"
    return node_id.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """xdist's own groups go by names that this pytest no longer lets it write into a test's id."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    config.option.loadscopereorder = False  # not by how many tests there are: see below
    return Scheduling(config, log)


def order_of(item: pytest.Item) -> tuple[bool, bool, bool]:
    """What takes longest in one piece is smallest."""
    part = parts_of(item)[0]
    return part == "unit", part != "fleet", not scope_of(item.nodeid).startswith("PostgreSQL")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In workers what takes longest comes first, so that none has to wait for another at the end."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=order_of)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    vars(report)["parts"] = parts_of(item)  # goes with it from a worker to where it is counted
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        for part in getattr(report, "parts", ()):
            outcomes[part][report.outcome] += 1
    if report.skipped and isinstance(report.longrepr, tuple):
        skipped[report.longrepr[2].removeprefix("Skipped: ")] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if terminalreporter.config.option.collectonly:
        return
    terminalreporter.ensure_newline()
    terminalreporter.section("what ran")
    for part in sorted(outcomes):
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes[part].items()))
        terminalreporter.write_line(f"{part}: {counts}")
    for reason, count in sorted(skipped.items()):
        terminalreporter.write_line(f"skipped {count}: {reason}")
    missing = [str(version) for version in KNOWN_VERSIONS if version not in versions()]
    if missing:
        everyone = " ".join(map(str, KNOWN_VERSIONS))
        terminalreporter.write_line(
            f'not asked for: PostgreSQL {", ".join(missing)} (LIFEBOAT_PG="{everyone}" for all)'
        )
