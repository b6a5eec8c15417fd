# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays show what a long module is doing, get the same result as without, and leave nothing running when stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from harness import PROGRAMS, RunFolder, server_folder, server_user, wait_until
from harness.machine import CLEAN_ENVIRONMENT
from harness.playbooks import HOST, Ansible, PlaybookRun

PLAY = """
- hosts: testhost
  gather_facts: false
  tasks:
    - name: back up
      lifeboat.postgresql.pg_backup:
        data_directory: "{{ folder }}"
        login_password: hunter2
        end: "{{ end | default('succeed') }}"
"""
PHASES = ["reading the label", "copying files (4 at once)", "publishing", "backup 7"]


@pytest.fixture(scope="module")
def slow(run_folder: RunFolder, installed_collection: Path) -> Ansible:
    """Ansible with the installed collection, but for a `pg_backup` that does as the test says."""
    collections = run_folder.path / "collections-with-slow-job"
    shutil.copytree(installed_collection, collections, symlinks=True)
    module = collections / "ansible_collections/lifeboat/postgresql/plugins/modules/pg_backup.py"
    shutil.copy(Path(__file__).with_name("slow_job.py"), module)
    return Ansible(run_folder, collections)


@pytest.fixture
def folder(run_folder: RunFolder, request: pytest.FixtureRequest) -> Path:
    """What the job takes for a data directory."""
    return server_folder(run_folder.folder("slow") / request.node.name.replace("/", "_"), 0o700)


def shown(output: str, host: str = HOST) -> list[str]:
    """The phases that a play has shown, without the lines about the progress within them."""
    prefix = f"    [{host}] pg_backup: "
    lines = [line.removeprefix(prefix) for line in output.splitlines() if line.startswith(prefix)]
    return [line for line in lines if "%" not in line]


def comparable(run: PlaybookRun) -> dict[str, Any]:
    """A result without what differs from run to run."""
    result = dict(run.task("back up").result)
    result.pop("invocation", None)
    return result


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def assert_nothing_is_left(folder: Path) -> None:
    """Neither the program that the job has started, nor the job; and it could clean up."""
    wait_until(lambda: is_gone(int((folder / "pid").read_text())), "the job's program is gone")
    assert (folder / "cleaned").exists()


@pytest.mark.parametrize("as_server_user", [False, True])
def test_a_line_per_phase_and_the_same_result_as_without(slow: Ansible, folder: Path, as_server_user: bool) -> None:
    followed = slow.playbook(PLAY, folder=folder, as_server_user=as_server_user)
    silent = slow.playbook(PLAY, folder=folder, as_server_user=as_server_user, env={"LIFEBOAT_PROGRESS": "no"})
    assert shown(followed.output) == PHASES
    assert shown(silent.output) == []
    assert comparable(followed) == comparable(silent)
    assert comparable(followed)["uid"] == server_user().pw_uid
    assert "hunter2" not in followed.output


def test_a_failure_is_the_modules_own(slow: Ansible, folder: Path) -> None:
    followed = slow.playbook(PLAY, folder=folder, end="fail", must_succeed=False)
    silent = slow.playbook(PLAY, folder=folder, end="fail", must_succeed=False, env={"LIFEBOAT_PROGRESS": "no"})
    assert shown(followed.output) == PHASES[:2]
    assert comparable(followed)["error_code"] == "disk_full"
    assert comparable(followed) == comparable(silent)


@pytest.mark.parametrize("as_server_user", [False, True])
def test_a_job_that_is_killed_is_noticed_and_explained(slow: Ansible, folder: Path, as_server_user: bool) -> None:
    """As root it is the worker that dies, as the owner the module."""
    followed = slow.playbook(PLAY, folder=folder, end="be killed", as_server_user=as_server_user, must_succeed=False)
    task = followed.task("back up")
    assert task.status == "failed"
    if os.geteuid() == 0 and not as_server_user:
        assert "killed by SIGABRT" in task.result["msg"]
        assert task.result["error_code"] == "worker_died"
    else:
        assert "ended without a result" in task.result["msg"]


def test_in_check_mode_and_with_no_log_nothing_is_shown(slow: Ansible, folder: Path) -> None:
    checked = slow.playbook(PLAY, folder=folder, check=True)
    assert checked.task("back up").result["predicted"]
    assert shown(checked.output) == []
    hidden = slow.playbook(PLAY + "      no_log: true\n", folder=folder)
    assert shown(hidden.output) == []
    assert hidden.totals[HOST]["failures"] == 0


def test_a_tasks_own_async_is_left_alone(slow: Ansible, folder: Path, tmp_path: Path) -> None:
    options = "      async: 300\n      poll: 1\n"
    # Left to itself, Ansible looks for the result in the account's home, whatever HOME says.
    run = slow.playbook(PLAY + options, folder=folder, env={"ANSIBLE_ASYNC_DIR": str(tmp_path)})
    assert run.task("back up").result["finished"]
    assert shown(run.output) == []


def test_a_loop_with_one_job_id_shows_each_run_once(slow: Ansible, folder: Path) -> None:
    options = f"        job_id: {folder.name[:40]}-{os.getpid()}\n      loop: [1, 2]\n"
    assert shown(slow.playbook(PLAY + options, folder=folder).output) == PHASES * 2


def test_a_delegated_task_says_where_it_runs(slow: Ansible, folder: Path) -> None:
    inventory = (
        f"[all:vars]\nansible_connection=local\nansible_python_interpreter={PROGRAMS}/python\n[all]\n{HOST}\ndb2\n"
    )
    run = slow.playbook(PLAY + "      delegate_to: db2\n", folder=folder, inventory=inventory)
    assert shown(run.output, f"{HOST} -> db2") == PHASES


def test_after_a_tasks_timeout_nothing_of_the_job_runs_on(slow: Ansible, folder: Path) -> None:
    """However far it has come by then: on a busy machine it may not even have begun."""
    run = slow.playbook(PLAY + "      timeout: 10\n", folder=folder, end="never", must_succeed=False)
    assert "Timed out after 10 second" in run.task("back up").result["msg"]
    if (folder / "pid").exists():
        assert_nothing_is_left(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_after_an_interruption_nothing_of_the_job_runs_on(
    slow: Ansible, folder: Path, tmp_path: Path, number: int
) -> None:
    (tmp_path / "play.yml").write_text(PLAY)
    options = ["-i", f"{HOST},", "-c", "local", "-e", f"ansible_python_interpreter={PROGRAMS}/python"]
    options += ["-e", f"folder={folder}", "-e", "end=never"]
    with subprocess.Popen(
        [PROGRAMS / "ansible-playbook", tmp_path / "play.yml", *options],
        env={**CLEAN_ENVIRONMENT, "ANSIBLE_COLLECTIONS_PATH": str(slow.collections), "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        cwd=tmp_path,
        start_new_session=True,
    ) as controller:
        try:
            wait_until((folder / "pid").exists, "the job has started its program")
            controller.send_signal(number)
            controller.wait()
        finally:
            controller.kill()
    assert_nothing_is_left(folder)
    on_the_host = (".ansible/tmp/ansible-tmp-*", ".ansible_async/*")
    wait_until(lambda: not any(list(tmp_path.glob(left)) for left in on_the_host), "Ansible's files are removed")
