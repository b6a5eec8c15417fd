# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The last words of a test run: which parts ran, and what was skipped and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from .postgres import KNOWN_VERSIONS, versions

parts: dict[str, list[str]] = {}
outcomes: dict[str, Counter[str]] = defaultdict(Counter)
skipped: Counter[str] = Counter()


def parts_of(item: pytest.Item) -> list[str]:
    """What a test counts for: its folder below tests/, with the PostgreSQL version or Ansible where it uses them."""
    folder = item.path.relative_to(Path(__file__).parents[1]).parts[0]
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    found = [f"{folder}, PostgreSQL {parameters['postgres']}"] if "postgres" in parameters else []
    if "installed_collection" in getattr(item, "fixturenames", ()):
        found.append(f"{folder}, Ansible with the installed collection")
    return found or [folder]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    parts.update({item.nodeid: parts_of(item) for item in items})


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.outcome != "passed":
        for part in parts.get(report.nodeid, ()):
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
