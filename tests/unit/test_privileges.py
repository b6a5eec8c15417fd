# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Working as the data directory's owner: the right user, nothing lost on the way back, nobody left behind."""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import (
    IntegrityError,
    InterruptedJobError,
    LifeboatError,
    PreconditionError,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.ports import ProgressSink
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.privileges import (
    Owner,
    account,
    owner_of,
    run_as,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import (
    Event,
    PhaseStarted,
    Progress,
)
from harness import cannot_be_had, server_user, wait_until

# A job that says when it works, and cleans up when it is stopped.
JOB = """
import os, pathlib, sys, time
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.privileges import account, run_as

folder = pathlib.Path(sys.argv[2])

class Silent:
    def emit(self, event):
        pass

def task(sink):
    (folder / "pid.new").write_text(str(os.getpid()))
    (folder / "pid.new").rename(folder / "pid")
    try:
        time.sleep(1000)
    finally:
        (folder / "cleaned").touch()

try:
    run_as(account(int(sys.argv[1])), task, Silent())
except LifeboatError as error:
    print(error.code, error.message)
"""


class Collected:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)


def called(user: str) -> Owner:
    """Ourselves, or somebody whom we have to become, which takes root."""
    if user == "ourselves":
        return account(os.geteuid())
    if os.geteuid() != 0:
        cannot_be_had("becoming another user needs root")
    return account(server_user().pw_uid)


@pytest.fixture(params=["ourselves", "another user"])
def owner(request: pytest.FixtureRequest) -> Owner:
    """Both ways to run a task: right here, and in a worker that has become the owner."""
    return called(request.param)


@pytest.fixture
def another_user() -> Owner:
    """A user we have to become."""
    return called("another user")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that every user can reach and write to."""
    for parent in (tmp_path, *tmp_path.parents[:-2]):
        parent.chmod(0o777)
    return tmp_path


@pytest.fixture
def job(owner: Owner, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process of its own with a job that has begun."""
    with subprocess.Popen(
        [sys.executable, "-c", JOB, str(owner.uid), str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_until((folder / "pid").exists, "the job has begun")
            yield process
        finally:
            process.kill()


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_the_task_runs_as_the_owner_with_his_surroundings(another_user: Owner) -> None:
    def task(_sink: ProgressSink) -> dict[str, Any]:
        return {
            "ids": [*os.getresuid(), *os.getresgid()],
            "groups": sorted(os.getgroups()),
            "surroundings": [os.environ["HOME"], os.environ["USER"], os.environ["LOGNAME"], os.getcwd()],
        }

    entry = pwd.getpwuid(another_user.uid)
    result = run_as(another_user, task, Collected())
    assert result["ids"] == [entry.pw_uid] * 3 + [entry.pw_gid] * 3
    assert result["groups"] == sorted(os.getgrouplist(entry.pw_name, entry.pw_gid))
    assert result["surroundings"] == [entry.pw_dir, entry.pw_name, entry.pw_name, "/"]
    assert os.geteuid() == 0


def test_files_are_the_owners_alone(owner: Owner, folder: Path) -> None:
    def task(_sink: ProgressSink) -> dict[str, Any]:
        (folder / "file").touch()
        return {}

    run_as(owner, task, Collected())
    status = (folder / "file").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (owner.uid, 0o600)


def test_events_and_the_result_come_back(owner: Owner) -> None:
    events = [PhaseStarted("copying", "base/1"), *(Progress(done, 1000) for done in range(1000))]

    def task(sink: ProgressSink) -> dict[str, Any]:
        for event in events:
            sink.emit(event)
        return {"large": "x" * 10**6}

    collected = Collected()
    assert run_as(owner, task, collected) == {"large": "x" * 10**6}
    assert collected.events == events


def test_what_the_task_prints_does_not_mix_with_a_modules_result(another_user: Owner, capfd: Any) -> None:
    def task(_sink: ProgressSink) -> dict[str, Any]:
        os.write(1, b"noise")
        return {"read": os.read(0, 10).decode()}

    assert run_as(another_user, task, Collected()) == {"read": ""}
    assert capfd.readouterr().out == ""


def test_an_error_comes_back_as_it_was(owner: Owner) -> None:
    def task(_sink: ProgressSink) -> dict[str, Any]:
        raise IntegrityError("reading", "a bit flipped.", "Restore.", code="damaged", file="base/1")

    with pytest.raises(IntegrityError) as caught:
        run_as(owner, task, Collected())
    assert (caught.value.code, caught.value.details) == ("damaged", {"file": "base/1"})
    assert caught.value.message == "reading: a bit flipped. Restore."


def test_an_unforeseen_error_comes_back_with_its_traceback(owner: Owner) -> None:
    def task(_sink: ProgressSink) -> dict[str, Any]:
        raise ZeroDivisionError("oh")

    with pytest.raises(LifeboatError, match="ZeroDivisionError: oh") as caught:
        run_as(owner, task, Collected())
    assert caught.value.code == "internal_error"
    assert 'raise ZeroDivisionError("oh")' in caught.value.details["traceback"]


def test_a_result_that_cannot_be_passed_on_is_an_error_and_not_a_dead_worker(another_user: Owner) -> None:
    with pytest.raises(LifeboatError, match="not JSON serializable") as caught:
        run_as(another_user, lambda _sink: {"path": Path("/")}, Collected())
    assert caught.value.code == "internal_error"


def test_a_killed_worker_is_reported_by_the_signals_name(another_user: Owner) -> None:
    def task(_sink: ProgressSink) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    with pytest.raises(InterruptedJobError, match="killed by SIGKILL") as caught:
        run_as(another_user, task, Collected())
    assert caught.value.code == "worker_died"


def test_a_worker_that_leaves_without_a_word_is_reported(another_user: Owner) -> None:
    with pytest.raises(InterruptedJobError, match="status 7") as caught:
        run_as(another_user, lambda _sink: os._exit(7), Collected())
    assert caught.value.code == "worker_died"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_told_to_stop_the_job_cleans_up_and_ends(job: subprocess.Popen[str], folder: Path, number: int) -> None:
    worker = int((folder / "pid").read_text())
    job.send_signal(number)
    said, _ignored = job.communicate()
    assert said.startswith(f"interrupted running the job: it was told to stop ({signal.Signals(number).name}).")
    assert (folder / "cleaned").exists()
    assert not is_alive(worker)


def test_a_worker_dies_with_a_killed_parent(job: subprocess.Popen[str], folder: Path) -> None:
    worker = int((folder / "pid").read_text())
    job.kill()
    job.wait()
    wait_until(lambda: not is_alive(worker), "the worker is gone too")


def test_a_sink_that_fails_leaves_no_worker_behind(another_user: Owner, folder: Path) -> None:
    class Broken:
        def emit(self, event: Event) -> None:
            raise RuntimeError("no room")

    def task(sink: ProgressSink) -> dict[str, Any]:
        (folder / "pid").write_text(str(os.getpid()))
        sink.emit(PhaseStarted("working"))
        signal.pause()
        return {}

    with pytest.raises(RuntimeError, match="no room"):
        run_as(another_user, task, Broken())
    assert not is_alive(int((folder / "pid").read_text()))


def test_signal_handlers_and_the_umask_are_as_before(owner: Owner) -> None:
    def state() -> list[Any]:
        mask = os.umask(0o022)
        os.umask(mask)
        return [mask, *(signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))]

    before = state()
    run_as(owner, lambda _sink: {}, Collected())
    assert state() == before


def test_who_is_neither_root_nor_the_owner_is_told_what_to_do(another_user: Owner) -> None:
    def task(_sink: ProgressSink) -> dict[str, Any]:
        return run_as(account(os.geteuid() + 1 if os.geteuid() == 1 else 1), lambda _sink: {}, Collected())

    with pytest.raises(PreconditionError) as caught:
        run_as(another_user, task, Collected())
    assert caught.value.code == "wrong_user"
    assert another_user.name in caught.value.message
    assert pwd.getpwuid(1).pw_name in caught.value.message
    assert "become: true" in caught.value.remedy


def test_the_owner_of_a_data_directory(another_user: Owner, tmp_path: Path) -> None:
    os.chown(tmp_path, another_user.uid, 0)
    assert owner_of(tmp_path) == another_user


def test_a_data_directory_that_belongs_to_root_is_refused() -> None:
    with pytest.raises(PreconditionError, match="refuses to run as root") as caught:
        owner_of(Path("/"))
    assert caught.value.code == "data_directory_owned_by_root"


def test_a_data_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="No such file") as caught:
        owner_of(tmp_path / "nowhere")
    assert caught.value.code == "data_directory_unreachable"


def test_an_owner_whom_the_machine_does_not_know_is_refused() -> None:
    with pytest.raises(PreconditionError) as caught:
        account(2**31 - 7)
    assert caught.value.code == "unknown_user"


def test_an_error_crosses_the_border_as_json(another_user: Owner) -> None:
    def task(_sink: ProgressSink) -> dict[str, Any]:
        raise IntegrityError("reading", "bad.", "", code="damaged", file=Path("/x"))

    with pytest.raises(IntegrityError) as caught:
        run_as(another_user, task, Collected())
    assert json.loads(json.dumps(caught.value.as_dict()))["details"] == {"file": "/x"}
