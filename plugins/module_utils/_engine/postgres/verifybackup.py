# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's own judgements about a directory: before its first start, and after a clean stop."""

from __future__ import annotations

from pathlib import Path

from ..errors import ExternalToolError, IntegrityError
from ..ports import ProcessRunner
from .programs import Programs


def before_start(programs: Programs, data_directory: Path, runner: ProcessRunner) -> str:
    """pg_verifybackup compares every file with the manifest and reads the WAL."""
    return _judge(
        [programs.path("pg_verifybackup"), str(data_directory)],
        runner,
        "comparing the restored files with the manifest",
        code="pg_verifybackup_failed",
    )


def page_checksums(programs: Programs, data_directory: Path, runner: ProcessRunner) -> str:
    """pg_checksums reads every page of a cleanly stopped cluster."""
    return _judge(
        [programs.path("pg_checksums"), "--check", "-D", str(data_directory)],
        runner,
        "checking page checksums",
        code="pg_checksums_failed",
    )


def _judge(argv: list[str], runner: ProcessRunner, attempted: str, *, code: str) -> str:
    try:
        result = runner.run(argv, attempted=attempted)
    except ExternalToolError as exc:
        raise IntegrityError(
            attempted,
            exc.happened,
            "Restore again; if it happens again, use another backup and verify the repository.",
            code=code,
        ) from exc
    return "; ".join(line.strip() for line in result.stdout.splitlines() if line.strip())
