# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Job files: whole lines for their reader alone, and never a reason for a job to fail."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock, parse_utc
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import PreconditionError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import (
    Finished,
    PhaseStarted,
    Progress,
    Warned,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.job_file import (
    JobFile,
    job_directory,
    open_job,
    parse_line,
)


@pytest.fixture
def job_id() -> Iterator[str]:
    """An id nobody uses; its file in the real directory goes with the test."""
    chosen = f"test-{secrets.token_hex(8)}"
    yield chosen
    (job_directory() / f"{chosen}.jsonl").unlink(missing_ok=True)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_events_are_appended_with_their_time_and_can_be_read_back(tmp_path: Path) -> None:
    events = [PhaseStarted("copying", "base/1"), Warned("gone"), Progress(1, 2), Finished(True, "done")]
    job = JobFile(tmp_path / "job.jsonl")
    for event in events:
        job.emit(event)
    job.close()
    text = (tmp_path / "job.jsonl").read_text()
    assert [parse_line(line) for line in text.splitlines()] == events
    assert all(parse_utc(line["time"]) for line in lines(tmp_path / "job.jsonl"))


def test_only_the_author_can_read_it_whatever_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        JobFile(tmp_path / "job.jsonl").close()
    finally:
        os.umask(previous)
    assert (tmp_path / "job.jsonl").stat().st_mode & 0o777 == 0o600


def test_of_much_progress_little_is_written_but_the_last_before_anything_else(tmp_path: Path, clock: Clock) -> None:
    job = JobFile(tmp_path / "job.jsonl", clock)
    job.emit(PhaseStarted("copying"))
    for step in range(1001):
        job.emit(Progress(step, 1000))
        clock.sleep(0.01)
    for phase in ("one", "two", "three"):
        job.emit(PhaseStarted(phase))
    written = lines(tmp_path / "job.jsonl")
    progress = [line["done_bytes"] for line in written if line["event"] == "progress"]
    assert 10 <= len(progress) <= 51
    assert progress[0] == 0
    assert progress[-1] == 1000
    assert [line["phase"] for line in written if line["event"] == "phase"] == ["copying", "one", "two", "three"]
    assert written[-4]["event"] == "progress"


def test_progress_that_was_overtaken_is_not_written_later(tmp_path: Path, clock: Clock) -> None:
    job = JobFile(tmp_path / "job.jsonl", clock)
    for step in (1, 2):
        job.emit(Progress(step))
    clock.sleep(10)
    job.emit(Progress(3))
    job.emit(Finished(True, ""))
    assert [line.get("done_bytes") for line in lines(tmp_path / "job.jsonl")] == [1, 3, None]


def test_threads_write_whole_lines(tmp_path: Path) -> None:
    job = JobFile(tmp_path / "job.jsonl")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: job.emit(Warned(f"{number}" * 500)), range(200)))
    assert len(lines(tmp_path / "job.jsonl")) == 200


def test_a_link_in_its_place_is_replaced_and_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    (tmp_path / "job.jsonl").symlink_to(precious)
    JobFile(tmp_path / "job.jsonl").emit(Warned("x"))
    assert precious.read_text() == "keep me"
    assert not (tmp_path / "job.jsonl").is_symlink()


@pytest.mark.parametrize("path", [None, Path("/nonexistent/job.jsonl"), Path("/proc/job.jsonl")])
def test_without_a_place_the_job_goes_on(path: Path | None) -> None:
    job = JobFile(path)
    job.emit(PhaseStarted("copying"))
    job.close()
    job.emit(Finished(True, ""))


def test_a_full_file_system_does_not_fail_the_job(tmp_path: Path) -> None:
    """/dev/full is what a full file system looks like to a program."""
    job = JobFile(tmp_path / "job.jsonl")
    assert job._descriptor is not None
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, job._descriptor)
    os.close(full)
    job.emit(Finished(True, ""))
    job.close()


def test_open_job_says_who_runs_and_replaces_an_older_file(job_id: str) -> None:
    open_job(job_id, "pg_backup").emit(Warned("old"))
    job = open_job(job_id, "pg_backup")
    job.emit(PhaseStarted("new"))
    assert job.path is not None
    first, second = lines(job.path)
    assert (first["event"], first["job_id"], first["command"]) == ("job", job_id, "pg_backup")
    assert first["pid"] == os.getpid()
    assert second["phase"] == "new"
    assert job.path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("bad", ["", ".", "..", "../x", "a/b", "a b", "x" * 65, ".hidden", "a\n"])
def test_an_id_that_is_no_file_name_is_refused(bad: str) -> None:
    with pytest.raises(PreconditionError) as caught:
        open_job(bad, "pg_backup")
    assert caught.value.code == "job_id_invalid"


def test_where_other_users_keep_theirs_and_how_many_are_kept(tmp_path: Path) -> None:
    """In a process of its own that is not root: with and without a runtime directory."""
    script = """
import os, sys
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.job_file import open_job
for number in range(60):
    print(open_job(f"job{number}", "x").path)
"""
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:-2]:
        parent.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    for runtime, expected in ((tmp_path, "lifeboat/jobs"), (tmp_path / "nowhere", ".local/state/lifeboat/jobs")):
        environment["XDG_RUNTIME_DIR"] = str(runtime)
        said = subprocess.run(
            [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
        )
        directory = tmp_path / expected
        assert said.stdout.splitlines() == [f"{directory}/job{number}.jsonl" for number in range(60)]
        assert len(list(directory.iterdir())) == 50
        assert (directory / "job59.jsonl").exists()


@pytest.mark.parametrize(
    "line", ["", "{", "[]", "7", '{"event": "job", "pid": 1}', '{"event": "from the future"}', '{"event": "phase"}']
)
def test_what_is_no_event_is_passed_over(line: str) -> None:
    assert parse_line(line) is None
