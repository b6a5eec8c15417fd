# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the server that answers is the process that runs in the data directory."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

import expect
import made
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres import control_file
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.connection import Connection
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.server import (
    Server,
    prove_same_cluster,
)

STARTED = 1_800_000_000
NOTE = "4711\n{directory}\n{started}\n5432\n/run/postgresql\nlocalhost\n"


class Answers:
    """A server that lets its postmaster.pid be read, unless that is None."""

    def __init__(self, note: str | None) -> None:
        self._note = note

    def row(self, _attempted: str, query: str) -> tuple[Any, ...]:
        if "has_function_privilege" in query:
            return (self._note is not None,)
        assert self._note is not None
        return (self._note.encode(),)


def proven(directory: Path, ready_after: float, note: str | None) -> None:
    """Compare a directory whose process began at STARTED with a server that was ready so many seconds later."""
    (directory / "postmaster.pid").write_text(NOTE.format(directory=directory, started=STARTED))
    started = datetime.fromtimestamp(STARTED + ready_after, timezone.utc)
    identifier = control_file.read(directory).system_identifier
    settings = {"data_directory": str(directory)}
    server = Server(150004, directory, identifier, False, started, made.SEGMENT_BYTES, True, settings)
    prove_same_cluster(server, cast(Connection, Answers(note)))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return made.data_directory(tmp_path / "data")


def test_what_the_server_reads_there_itself_decides(directory: Path) -> None:
    own = NOTE.format(directory=directory, started=STARTED)
    proven(directory, 86400, own)  # however long it took
    for other in (own.replace("4711", "4712"), own.replace(str(STARTED), str(STARTED + 1)), ""):
        with expect.failure("server_directory_mismatch"):
            proven(directory, 0, other)


@pytest.mark.parametrize(("ready_after", "is_same"), [(0, True), (-4, True), (59, True), (-6, False), (61, False)])
def test_to_whom_that_is_not_allowed_the_time_decides(directory: Path, ready_after: float, is_same: bool) -> None:
    if is_same:
        proven(directory, ready_after, None)
        return
    with expect.failure("server_directory_mismatch"):
        proven(directory, ready_after, None)
