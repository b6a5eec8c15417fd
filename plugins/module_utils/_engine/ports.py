# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job needs from outside, as small protocols that tests can replace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .report.events import Event

if TYPE_CHECKING:
    from .process import Completed, Process
    from .sandbox import Sandbox


class ProgressSink(Protocol):
    """Receives events and calls nobody back."""

    def emit(self, event: Event) -> None:
        """Take one event; must not raise for reasons of its own."""


class ProcessRunner(Protocol):
    """Runs programs; `process.Runner` is the real one and says what each argument promises."""

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        input: str | bytes | None = None,
        cwd: str | Path | None = None,
        timeout: float | None = None,
        check: bool = True,
        attempted: str = "",
        inside: Sandbox | None = None,
    ) -> Completed:
        """Run a program to its end."""

    def start(
        self,
        argv: Sequence[str],
        *,
        output: Path,
        attempted: str,
        env: Mapping[str, str] | None = None,
        inside: Sandbox | None = None,
    ) -> Process:
        """Start a program that goes on beside us, and dies with us."""
