# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's shell commands do on a host what they promise; here a plain `sh` runs them."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import PhaseStarted, Warned
from ansible_collections.lifeboat.postgresql.plugins.plugin_utils.remote_job import RemoteJob, Sighting
from harness import wait_until

# Like async_wrapper: has the directory in its command line and leads a session of its own. Its child is the module,
# here one that was too quick to be in its parent's process group.
LEADER = """
import os, subprocess, sys
directory, child = sys.argv[1:]
script = f"echo $$ > '{directory}/child'; {child}"
subprocess.Popen(["sh", "-c", script], preexec_fn=os.setpgrp).wait()
"""
OBEDIENT = "exec sleep 1000"
DEAF = "trap '' TERM; while :; do sleep 1; done"


@pytest.fixture
def job(tmp_path: Path) -> RemoteJob:
    """A job with its files in the test's folder."""
    directory = tmp_path / "ansible-tmp-1700000000.5-123-456"
    directory.mkdir()
    return RemoteJob(secrets.token_hex(8), str(directory), str(tmp_path / "j1.2"))


@pytest.fixture
def job_file(job: RemoteJob, tmp_path: Path) -> Path:
    """The job's file, in what `sh` takes for the runtime directory."""
    path = tmp_path / f"lifeboat/jobs/{job.job_id}.jsonl"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture(params=[OBEDIENT, DEAF], ids=["obedient", "deaf"])
def child(request: pytest.FixtureRequest, job: RemoteJob) -> Iterator[int]:
    """The running job's child, which stops when it is asked to, or does not."""
    command = [sys.executable, "-c", LEADER, job.directory, request.param]
    with subprocess.Popen(command, start_new_session=True) as leader:
        pid_file = Path(job.directory, "child")
        wait_until(lambda: pid_file.exists() and pid_file.read_text() != "", "the job runs")
        pid = int(pid_file.read_text())
        yield pid
        for process in (pid, leader.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def sh(command: str, tmp_path: Path) -> str:
    """Run a command as over ssh: its shell leads a session and has the whole command in its command line."""
    done = subprocess.run(
        ["sh", "-c", f"{command} && sleep 0"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )
    assert done.returncode >= 0, f"the command killed itself: {done}"
    return done.stdout


def look(job: RemoteJob, first_line: int, tmp_path: Path) -> Sighting:
    return job.sighting(sh(job.look_command(first_line), tmp_path))


def line(**fields: object) -> str:
    return json.dumps({"time": "2026-01-01T00:00:00.000000Z", **fields}) + "\n"


def test_before_the_job_has_begun_there_is_nothing_to_see(job: RemoteJob, tmp_path: Path) -> None:
    assert look(job, 1, tmp_path) == Sighting(has_result=False, is_alive=False, lines=[])


def test_news_are_the_whole_lines_from_the_asked_for_one_on(job: RemoteJob, job_file: Path, tmp_path: Path) -> None:
    job_file.write_text(
        line(event="job", pid=1) + line(event="phase", phase="one") + line(event="warning", message="w")
    )
    assert look(job, 1, tmp_path).events == [PhaseStarted("one"), Warned("w")]
    with job_file.open("a") as stream:
        stream.write('{"event": "phase", "pha')
    sighting = look(job, 3, tmp_path)
    assert sighting.events == [Warned("w")]
    assert len(sighting.lines) == 1


def test_a_terminal_in_between_changes_nothing(job: RemoteJob, job_file: Path, tmp_path: Path) -> None:
    job_file.write_text(line(event="job", pid=1) + line(event="phase", phase="one"))
    Path(job.results_file).write_text('{"changed": true}')
    output = sh(job.look_command(1), tmp_path)
    assert job.sighting(output.replace("\n", "\r\n")) == job.sighting(output)
    assert job.sighting(output).has_result
    assert job.sighting(output).events == [PhaseStarted("one")]


@pytest.mark.parametrize(
    ("note", "has_result"),
    [
        ('{"started": true, "finished": false, "ansible_job_id": "j1.2"}', False),
        ('{"started": 1, "finished": 0, "ansible_job_id": "j1.2"}', False),
        ('{"started": tr', False),
        ('{"changed": true, "msg": "--lifeboat-- alive"}', True),
        ('Welcome to db1!\n{"failed": true, "msg": "x"}', True),
    ],
)
def test_the_start_of_a_job_is_told_from_its_result(
    job: RemoteJob, tmp_path: Path, note: str, has_result: bool
) -> None:
    Path(job.results_file).write_text(note)
    assert look(job, 1, tmp_path) == Sighting(has_result, False, [])


def test_a_job_is_seen_alive_and_then_not(job: RemoteJob, child: int, tmp_path: Path) -> None:
    assert look(job, 1, tmp_path).is_alive
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: not look(job, 1, tmp_path).is_alive, "nothing of the job is seen any more")


def test_stopping_ends_the_group_and_removes_the_files(job: RemoteJob, child: int, tmp_path: Path) -> None:
    Path(job.results_file).write_text("{}")
    sh(job.stop_command(patience_seconds=1), tmp_path)
    wait_until(lambda: not Path(f"/proc/{child}").exists(), "the child is gone")
    assert not Path(job.directory).exists()
    assert not Path(job.results_file).exists()


def test_stopping_what_does_not_run_any_more_is_no_error(job: RemoteJob, tmp_path: Path) -> None:
    sh(job.stop_command(), tmp_path)
    assert not Path(job.directory).exists()


def test_an_older_job_file_of_this_id_is_forgotten(job: RemoteJob, job_file: Path, tmp_path: Path) -> None:
    job_file.write_text(line(event="phase", phase="of yesterday"))
    sh(job.forget_command(), tmp_path)
    assert not job_file.exists()


def test_the_result_is_removed_once_it_is_fetched(job: RemoteJob, tmp_path: Path) -> None:
    Path(job.results_file).write_text("{}")
    sh(job.tidy_command(), tmp_path)
    assert not Path(job.results_file).exists()
