# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible as a user has it: the collection installed, an inventory, and `ansible-playbook`."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

from stage import Stage

CHECKOUT = Path(__file__).resolve().parents[2]
HOST = "shop"

CONFIGURATION = """\
[defaults]
inventory = inventory.json
collections_path = collections
collections_scan_sys_path = false
home = ansible
local_tmp = ansible/local
remote_tmp = {folder}/ansible/remote
callback_result_format = yaml
display_ok_hosts = false
display_skipped_hosts = false
nocows = true
"""


class PlayFailed(Exception):
    """A playbook ended with an error, which it has shown."""


class Ansible:
    """The collection's playbooks, and the demo's own, on this machine."""

    def __init__(self, stage: Stage, venv: Path) -> None:
        self._stage = stage
        self._venv = venv
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "LIFEBOAT_", "PG"))
        }
        self._environment |= {
            "ANSIBLE_CONFIG": str(stage.folder / "ansible.cfg"),
            "HOME": str(stage.folder / "home"),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{venv}/bin:{os.environ['PATH']}",
        }

    def prepare(self, **variables: Any) -> None:
        """Install the collection into the folder and write configuration and inventory, with *variables* of the host."""
        folder = self._stage.folder
        (folder / "home").mkdir()
        (folder / "ansible.cfg").write_text(CONFIGURATION.format(folder=folder))
        host = {"ansible_connection": "local", "ansible_python_interpreter": f"{self._venv}/bin/python", **variables}
        inventory = {"all": {"hosts": {HOST: host}}}
        (folder / "inventory.json").write_text(json.dumps(inventory, indent=2, default=str))
        self._install_collection(folder / "collections")

    def _install_collection(self, collections: Path) -> None:
        """From a checkout, as users do: build and install. An installed copy is used as it is."""
        if not (CHECKOUT / "galaxy.yml").exists():
            installed = collections / "ansible_collections/lifeboat/postgresql"
            installed.parent.mkdir(parents=True)
            installed.symlink_to(CHECKOUT)
            return
        dist = self._stage.folder / "dist"
        self._galaxy("build", CHECKOUT, "--output-path", dist)
        (artifact,) = dist.glob("*.tar.gz")
        self._galaxy("install", "--offline", artifact, "--collections-path", collections)

    def _galaxy(self, *arguments: str | Path) -> None:
        subprocess.run(
            [self._venv / "bin/ansible-galaxy", "collection", *arguments],
            cwd=self._stage.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def own(self, name: str, **variables: Any) -> Any:
        """Run one of the demo's own playbooks, with a file that it may write a result to; that result."""
        shutil.copytree(CHECKOUT / "tools/demo/playbooks", self._stage.folder / "playbooks", dirs_exist_ok=True)
        result = self._stage.folder / f"{name}.result.json"
        self._play(self._stage.folder / "playbooks" / f"{name}.yml", {**variables, "shop_result": result})
        return json.loads(result.read_text()) if result.exists() else None

    def collection(self, name: str, **variables: Any) -> None:
        """Run one of the collection's playbooks, after showing the command that a user would type."""
        playbook = f"lifeboat.postgresql.{name}"
        shown = (f"-e {shlex.quote(f'{key}={value}')}" for key, value in variables.items() if isinstance(value, str))
        print(f"     $ ansible-playbook {' '.join([playbook, *shown])}", flush=True)
        self._play(playbook, variables)

    def _play(self, playbook: str | Path, variables: dict[str, Any]) -> None:
        given = json.dumps(variables, default=str)
        command = [self._venv / "bin/ansible-playbook", playbook, "--extra-vars", given]
        if self._stage.perform(command, self._environment):
            raise PlayFailed(f"the playbook {playbook} failed; what it showed above says why")
