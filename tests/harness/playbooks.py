# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible as a user runs it: `ansible-playbook` against the collection, built and installed."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .machine import CHECKOUT, PROGRAMS, run, server_folder, server_user
from .run_folder import RunFolder

HOST = "testhost"
NAMESPACE = "lifeboat.postgresql."
CALLBACKS = Path(__file__).parent / "callback_plugins"

_numbers = itertools.count(1)  # of the runs of ansible-playbook


def install_collection(run_folder: RunFolder) -> Path:
    """Build the collection's artifact, install it without a network, and return the collections path."""
    dist, collections = run_folder.folder("dist"), run_folder.folder("collections")
    home = {"ANSIBLE_HOME": str(run_folder.folder("ansible-galaxy"))}
    galaxy: list[str | Path] = [PROGRAMS / "ansible-galaxy", "collection"]
    run([*galaxy, "build", CHECKOUT, "--output-path", dist], cwd=run_folder.path, env=home)
    (artifact,) = dist.glob("*.tar.gz")
    run([*galaxy, "install", "--offline", artifact, "--collections-path", collections], cwd=run_folder.path, env=home)
    return collections


@dataclass(frozen=True)
class TaskResult:
    """What one task did on one host."""

    host: str
    task: str
    action: str
    status: str  # ok, failed, skipped, unreachable
    result: dict[str, Any]

    @property
    def changed(self) -> bool:
        """Whether the task reported a change."""
        return bool(self.result.get("changed"))


class PlaybookFailed(AssertionError):
    """A playbook failed that should not have; the message is its output."""


@dataclass(frozen=True)
class PlaybookRun:
    """A finished `ansible-playbook`."""

    rc: int
    output: str
    tasks: list[TaskResult] = field(repr=False)
    totals: dict[str, dict[str, int]]

    def task(self, name: str, host: str | None = None) -> TaskResult:
        """The last result of the task called *name*, on *host* when given."""
        for found in reversed(self.tasks):
            if found.task == name and host in (None, found.host):
                return found
        raise LookupError(f"no task {name!r} among {[found.task for found in self.tasks]}\n{self.output}")

    @property
    def changed(self) -> list[TaskResult]:
        """The results that reported a change."""
        return [found for found in self.tasks if found.changed]


class Ansible:
    """Runs playbooks and single modules on this machine, as root or who we are, or as the servers' user."""

    def __init__(self, run_folder: RunFolder, collections: Path, within: Sequence[str] = ()) -> None:
        """*within* begins the command line: what puts Ansible into another network."""
        self.collections = collections
        self._run_folder = run_folder
        self._within = within

    def playbook(
        self,
        playbook: str | Path,
        *,
        check: bool = False,
        diff: bool = False,
        as_server_user: bool = False,
        must_succeed: bool = True,
        inventory: str | Path | None = None,
        env: dict[str, str] | None = None,
        **extra_vars: Any,
    ) -> PlaybookRun:
        """Run a playbook: its text (recognised by a line break), its path or its name in a collection.

        The inventory, a file or text in INI style, is by default HOST, which is this machine. *as_server_user*
        runs all of Ansible as the user who owns the servers' data directories.
        """
        __tracebackhide__ = True
        folder = self._run_folder.folder("ansible") / str(next(_numbers))
        if as_server_user:
            server_folder(folder)
        else:
            folder.mkdir()
        if isinstance(playbook, str) and "\n" in playbook:
            text, playbook = playbook, folder / "playbook.yml"
            playbook.write_text(text)
        default_inventory = f"{HOST} ansible_connection=local ansible_python_interpreter={PROGRAMS}/python\n"
        if not isinstance(inventory, Path):
            text, inventory = inventory or default_inventory, folder / "inventory"
            inventory.write_text(text)
        (folder / "vars.json").write_text(json.dumps(extra_vars, default=str))
        (folder / "ansible.cfg").touch()
        options: list[str | Path] = ["--inventory", inventory, "--extra-vars", f"@{folder}/vars.json"]
        options += ["--check"] * check + ["--diff"] * diff
        done = run(
            [*self._within, PROGRAMS / "ansible-playbook", playbook, *options],
            user=server_user() if as_server_user else None,
            cwd=folder,
            env={**self._environment(folder), **(env or {})},
            check=False,
        )
        tasks, totals = read_results(folder / "results")
        finished = PlaybookRun(done.returncode, done.stdout + done.stderr, tasks, totals)
        if must_succeed and finished.rc:
            raise PlaybookFailed(finished.output)
        return finished

    def module(
        self, name: str, *, check: bool = False, diff: bool = False, as_server_user: bool = False, **arguments: Any
    ) -> dict[str, Any]:
        """Run one module and return its result, a failure's too (see its `failed`). A short *name* is one of ours."""
        action = name if "." in name else NAMESPACE + name
        play = [{"hosts": "all", "gather_facts": False, "tasks": [{"name": name, action: arguments}]}]
        text = json.dumps(play, indent=1, default=str)
        finished = self.playbook(text, check=check, diff=diff, as_server_user=as_server_user, must_succeed=False)
        if not finished.tasks:
            raise PlaybookFailed(finished.output)
        return finished.task(name).result

    def _environment(self, folder: Path) -> dict[str, str]:
        return {
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
            "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false",
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_HOME": str(folder / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_REMOTE_TEMP": str(folder / "remote"),
            "HOME": str(folder),
            "LIFEBOAT_TEST_RESULTS": str(folder / "results"),
        }


def read_results(path: Path) -> tuple[list[TaskResult], dict[str, dict[str, int]]]:
    """What the callback wrote: the tasks' results and the totals per host."""
    tasks: list[TaskResult] = []
    totals: dict[str, dict[str, int]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        entry = json.loads(line)
        if "totals" in entry:
            totals = entry["totals"]
        else:
            tasks.append(TaskResult(**entry))
    return tasks, totals
