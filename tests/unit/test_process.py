# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs get what they are given and nothing else, fail with an explanation, and never outlive us."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import (
    ExternalToolError,
    PreconditionError,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.process import Runner
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.sandbox import Sandbox
from harness import wait_until


@pytest.fixture
def pid_file(tmp_path: Path) -> Iterator[Path]:
    """Where a program under test writes its process number; what is left of it ends with the test."""
    path = tmp_path / "pid"
    yield path
    if path.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(path.read_text()), signal.SIGKILL)


def is_gone(pid_file: Path) -> bool:
    """Whether the process is dead, buried or not."""
    try:
        return "Z" in Path(f"/proc/{int(pid_file.read_text())}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True


def waits(process: int, number: int) -> bool:
    """Whether a signal of the whole process has been taken by none of its threads yet."""
    status = Path(f"/proc/{process}/status").read_text()
    (pending,) = (line.split()[1] for line in status.splitlines() if line.startswith("ShdPnd:"))
    return bool(int(pending, 16) >> (number - 1) & 1)


def test_output_and_status_come_back() -> None:
    done = Runner().run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_output_that_is_no_text_survives() -> None:
    done = Runner().run(["printf", r"\377\n"])
    assert done.stdout.encode("utf-8", "surrogateescape") == b"\xff\n"


@pytest.mark.parametrize(
    ("given", "read"), [(None, ""), ("grüße", "grüße"), (b"bytes", "bytes"), ("x" * 10**6, "x" * 10**6)]
)
def test_input_is_what_was_given_or_nothing(given: str | bytes | None, read: str) -> None:
    assert Runner().run(["cat"], input=given).stdout == read


def test_the_environment_is_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("PGPASSWORD", "of somebody else")
    done = Runner({"PGHOST": "db"}).run(["env"], env={"PGPORT": "1"}, secrets={"PGUSER": "me"})
    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert names == {"PATH", "HOME", "LC_ALL", "PGHOST", "PGPORT", "PGUSER"}


def test_a_program_has_no_terminal_and_a_group_of_its_own() -> None:
    script = "import os; print(os.getpid() == os.getsid(0) == os.getpgrp())"
    assert Runner().run([sys.executable, "-c", script]).stdout == "True\n"


def test_a_failure_says_what_for_and_shows_the_last_lines() -> None:
    script = "seq 100 >&2; echo disk full >&2; exit 2"
    with pytest.raises(ExternalToolError) as caught:
        Runner().run(["sh", "-c", script], attempted="copying the label")
    error = caught.value
    assert error.code == "tool_failed"
    assert error.message.startswith("copying the label: sh failed with status 2: ")
    assert "disk full" in error.message
    assert "\n50\n" not in error.message
    assert error.details["returncode"] == 2


def test_a_program_killed_by_a_signal_is_reported_by_the_signals_name() -> None:
    with pytest.raises(ExternalToolError, match="was killed by SIGSEGV"):
        Runner().run(["sh", "-c", "kill -s SEGV $$"])


def test_secrets_reach_the_program_but_no_error() -> None:
    with pytest.raises(ExternalToolError) as caught:
        Runner().run(["sh", "-c", 'echo "wrong password $PGPASSWORD" >&2; exit 1'], secrets={"PGPASSWORD": "hunter2"})
    assert "wrong password ***" in caught.value.message
    assert "hunter2" not in json.dumps(caught.value.as_dict())


def test_a_missing_program_and_a_missing_directory_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="no-such-program") as caught:
        Runner().run(["no-such-program"])
    assert caught.value.code == "program_missing"
    with pytest.raises(PreconditionError, match="nowhere") as caught:
        Runner().run(["true"], cwd=tmp_path / "nowhere")
    assert caught.value.code == "directory_missing"


def test_after_the_timeout_the_program_and_what_it_started_are_gone(pid_file: Path) -> None:
    script = f"sleep 1000 & echo $! > {pid_file}; wait"
    with pytest.raises(ExternalToolError, match="did not end within") as caught:
        Runner().run(["sh", "-c", script], timeout=1)
    assert caught.value.code == "tool_timeout"
    wait_until(lambda: is_gone(pid_file), "what the program started is gone")


def test_a_daemon_that_keeps_the_output_open_is_not_waited_for(pid_file: Path) -> None:
    script = f"setsid sleep 1000 & echo $! > {pid_file}; echo started"
    assert Runner().run(["sh", "-c", script]).stdout == "started\n"
    assert not is_gone(pid_file)


def test_an_exception_while_waiting_kills_the_program(pid_file: Path) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(_number: int, _frame: object) -> None:
        raise Interrupted

    previous = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(Interrupted):
            Runner().run(["sh", "-c", f"echo $$ > {pid_file}; kill -s USR1 {os.getpid()}; exec sleep 1000"])
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert is_gone(pid_file)


@pytest.mark.parametrize("how", ["run", "start"])
def test_a_handler_that_raises_while_a_program_is_being_started_kills_it(pid_file: Path, how: str) -> None:
    """Another thread takes the signal, which the main thread has blocked; the handler runs in the main thread."""

    class Interrupted(Exception):
        pass

    def interrupt(_number: int, _frame: object) -> None:
        raise Interrupted

    class Strike:
        """In the new process, before it is another program: the parent cannot hold it yet."""

        def entrance(self) -> Callable[[], None]:
            parent = os.getpid()

            def enter() -> None:
                pid_file.write_text(str(os.getpid()))
                os.kill(parent, signal.SIGUSR1)
                while waits(parent, signal.SIGUSR1):
                    time.sleep(0.001)

            return enter

    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    previous = signal.signal(signal.SIGUSR1, interrupt)
    strike = cast(Sandbox, Strike())
    try:
        with pytest.raises(Interrupted):
            if how == "run":
                Runner().run(["sleep", "1000"], inside=strike)
            else:
                Runner().start(["sleep", "1000"], output=pid_file.with_name("out"), attempted="trying", inside=strike)
        assert signal.getsignal(signal.SIGUSR1) is interrupt
    finally:
        signal.signal(signal.SIGUSR1, previous)
        done.set()
        other.join()
    assert is_gone(pid_file)


def test_a_program_dies_with_its_parent(pid_file: Path) -> None:
    script = f"""
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.process import Runner
Runner().run(["sh", "-c", "echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 1000"])
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    try:
        wait_until(pid_file.exists, "the program runs")
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: is_gone(pid_file), "the program died with its parent")


def test_threads_may_run_programs_at_the_same_time() -> None:
    runner = Runner()
    with ThreadPoolExecutor(8) as threads:
        outputs = list(threads.map(lambda number: runner.run(["echo", str(number)]).stdout, range(64)))
    assert outputs == [f"{number}\n" for number in range(64)]
