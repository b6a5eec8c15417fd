# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind the long modules: run the module and show what it is doing.

A running module cannot print. So it is started in the background, its job file is followed, and
in the end its result is returned as if it had been run directly. When the play is interrupted or
the task's `timeout` is over, the job on the host is stopped too. Where following makes no sense
or might not work, the module is run directly: the result is the same, only the lines are missing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._engine.report.events import Event, Finished, PhaseStarted, Progress
from ..module_utils._engine.report.job_file import JOB_ID
from ..module_utils._engine.report.wording import event_text
from .remote_job import RemoteJob, Sighting

_TIME_LIMIT_SECONDS = 30 * 24 * 3600  # async_wrapper wants one; a task's `timeout` is the user's
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 1.0
_PROGRESS_LINE_SECONDS = 2.0
_UNREACHABLE_PATIENCE_SECONDS = 300.0
_LOOKS_BEFORE_GIVEN_UP = 3  # at a job that lives no more but has left no result

display = Display()


class ProgressAction(ActionBase):
    """Base of the action plugins; a subclass adds nothing but its name."""

    _supports_async = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module of the same name."""
        result = super().run(tmp, task_vars)
        if self._can_follow():
            result.update(self._run_and_follow(task_vars or {}))
        else:
            result.update(self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val))
        return result

    def _can_follow(self) -> bool:
        """Whether to show progress: somebody wants to see it, and running in the background works.

        An unprivileged login that becomes another unprivileged user is left out: in the background,
        Ansible would have to share files between the two, which needs access control lists.
        """
        becomes_stranger = self._is_become_unprivileged() and self._get_remote_user() not in self._get_admin_users()
        return (
            not self._task.check_mode
            and not self._task.async_val
            and not self._task.no_log
            and not becomes_stranger
            and boolean(os.environ.get("LIFEBOAT_PROGRESS", "yes"), strict=False)
            and JOB_ID.fullmatch(str(self._task.args.get("job_id") or "unset")) is not None
        )

    def _run_and_follow(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        if self._connection._shell.tmpdir is None:
            self._make_tmp_path()
        chosen = self._task.args.get("job_id")
        job = RemoteJob(str(chosen or secrets.token_hex(8)), self._connection._shell.tmpdir)
        if chosen:
            self._low_level_execute_command(job.forget_command())
        with _stopping_in_order():
            try:
                started = self._start(job, task_vars)
                if "results_file" not in started:
                    self._stop(job)
                    return started
                job = RemoteJob(job.job_id, job.directory, started["results_file"])
                self._follow(job, _Lines(self._task, task_vars))
                return self._result(job, started["ansible_job_id"], task_vars)
            except BaseException:
                self._stop(job)
                raise

    def _start(self, job: RemoteJob, task_vars: dict[str, Any]) -> dict[str, Any]:
        arguments = {**self._task.args, "job_id": job.job_id}
        self._task.async_val = _TIME_LIMIT_SECONDS
        try:
            return self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=True)
        finally:
            self._task.async_val = 0  # else the executor would wait for the job once more

    def _follow(self, job: RemoteJob, lines: _Lines) -> None:
        """Show the job's news until its result is there."""
        pause, seen_lines, seen_alive, looks_in_vain = _FIRST_PAUSE, 0, False, 0
        while True:
            sighting = self._look(job, seen_lines + 1)
            seen_lines += len(sighting.lines)
            lines.show(sighting.events)
            if sighting.has_result:
                return
            seen_alive = seen_alive or sighting.is_alive
            looks_in_vain = 0 if sighting.is_alive or not seen_alive else looks_in_vain + 1
            if looks_in_vain == _LOOKS_BEFORE_GIVEN_UP:
                raise AnsibleActionFail(_died_message(lines.module))
            pause = _FIRST_PAUSE if lines.job_finished else min(_LONGEST_PAUSE, pause * 1.5)
            time.sleep(pause)

    def _look(self, job: RemoteJob, first_line: int) -> Sighting:
        """Look at the job, however long the way to the host is blocked, within reason."""
        give_up = time.monotonic() + _UNREACHABLE_PATIENCE_SECONDS
        while True:
            try:
                return job.sighting(self._low_level_execute_command(job.look_command(first_line))["stdout"])
            except AnsibleConnectionFailure as exc:
                if time.monotonic() > give_up:
                    raise
                display.vv(f"the job {job.job_id} goes on, but the host cannot be reached, trying again: {exc}")
                time.sleep(_LONGEST_PAUSE)
                self._connection.reset()

    def _result(self, job: RemoteJob, async_id: str, task_vars: dict[str, Any]) -> dict[str, Any]:
        """The module's result, without what running in the background added to it."""
        result = self._execute_module(
            module_name="ansible.legacy.async_status",
            module_args={"jid": async_id, "mode": "status", "_async_dir": str(PurePosixPath(job.results_file).parent)},
            task_vars=task_vars,
        )
        self._low_level_execute_command(job.tidy_command())
        if "data" in result and "cmd" in result:  # async_wrapper's own words: there was no result to read
            return {
                "failed": True,
                "msg": _died_message(self._task.action),
                "module_stdout": result["data"],
                "module_stderr": result.get("stderr", ""),
            }
        for added in ("ansible_job_id", "started", "finished", "stderr", "stderr_lines"):
            result.pop(added, None)
        return result

    def _stop(self, job: RemoteJob) -> None:
        """Leave nothing running or lying about on the host, if it can be reached."""
        try:
            self._low_level_execute_command(job.stop_command())
        except Exception as exc:
            display.warning(f"{self._task.action} may still be running on the host, which cannot be asked: {exc}")


class _Lines:
    """Writes a line per phase, and now and then one about the progress within it."""

    def __init__(self, task: Any, task_vars: dict[str, Any]) -> None:
        self.module = task.action.rpartition(".")[2]
        self.job_finished = False
        host = task_vars.get("inventory_hostname", "")
        self._host = f"{host} -> {task.delegate_to}" if task.delegate_to else host
        self._phase = ""
        self._written_at = 0.0
        # A callback that writes JSON for a program must have standard output for itself.
        self._to_stderr = constants.DEFAULT_STDOUT_CALLBACK.rpartition(".")[2].startswith("json")

    def show(self, events: list[Event]) -> None:
        """Write what is new. Of several events about progress the last one says it all."""
        for event, following in zip(events, [*events[1:], None]):
            if isinstance(event, Progress):
                pause_is_over = time.monotonic() - self._written_at >= _PROGRESS_LINE_SECONDS
                if isinstance(following, Progress) or not pause_is_over:
                    continue
            elif isinstance(event, PhaseStarted):
                self._phase = event.phase
            elif isinstance(event, Finished):
                self.job_finished = True
                if not event.ok:
                    continue  # the task's own failure says it, and more
            self._write(event_text(event, self._phase))

    def _write(self, text: str) -> None:
        display.display(f"    [{self._host}] {self.module}: {text}", stderr=self._to_stderr)
        self._written_at = time.monotonic()


def _died_message(module: str) -> str:
    return (
        f"running {module.rpartition('.')[2]}: its process on the host ended without a result. "
        "Look into the host's log for who killed it or for a shortage of memory, then run the task again."
    )


class _Interrupted(BaseException):
    """The worker was told to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def _stopping_in_order() -> Iterator[None]:
    """Ansible's worker dies on the spot when it is told to; let the block clean up before it does."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only there can signals be handled, and only there do they arrive
        return

    def interrupt(number: int, _frame: Any) -> None:
        for each in previous:
            signal.signal(each, lambda *_ignored: None)
        raise _Interrupted(number)

    previous = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    interrupted = None
    try:
        for each in previous:
            signal.signal(each, interrupt)
        yield
    except _Interrupted as exc:
        interrupted = exc.number
        raise
    finally:
        for each, handler in previous.items():
            signal.signal(each, handler)
        if interrupted is not None:
            signal.raise_signal(interrupted)
