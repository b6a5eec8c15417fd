# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible as a user has it: the collection installed, an inventory, and `ansible-playbook`."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import textwrap
from pathlib import Path
from typing import Any

from stage import DemoFailed, Stage

CHECKOUT = Path(__file__).resolve().parents[2]
HOST = "shop"

# Short: only what changes or fails is shown.
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
        """Install the collection into the folder; write configuration and inventory, with the host's *variables*."""
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
        command = [self._venv / "bin/ansible-galaxy", "collection", *arguments]
        if self._stage.perform(command, self._environment, quiet=True):
            raise DemoFailed("the collection could not be built and installed; see above")

    def own(self, name: str, **variables: Any) -> Any:
        """Run one of the demo's own playbooks, with a file that it may write a result to; that result."""
        shutil.copytree(CHECKOUT / "tools/demo/playbooks", self._stage.folder / "playbooks", dirs_exist_ok=True)
        result = self._stage.folder / f"{name}.result.json"
        playbook = self._stage.folder / "playbooks" / f"{name}.yml"
        self._play([str(playbook), *_as_options({**variables, "shop_result": result})], quiet=True)
        return json.loads(result.read_text()) if result.exists() else None

    def collection(self, name: str, **variables: Any) -> None:
        """Run one of the collection's playbooks, after showing the command, which is what a user would type."""
        arguments = [f"lifeboat.postgresql.{name}", *_as_options(variables)]
        print(_as_typed(["ansible-playbook", *arguments]))
        self._play(arguments)

    def _play(self, arguments: list[str], *, quiet: bool = False) -> None:
        command: list[str | Path] = [self._venv / "bin/ansible-playbook", *arguments]
        # Errors go to standard error, so that quiet plays show them too.
        environment = self._environment | {"ANSIBLE_DISPLAY_FAILED_STDERR": str(quiet)}
        if self._stage.perform(command, environment, quiet=quiet):
            raise DemoFailed(f"the playbook {arguments[0]} failed; what it showed above says why")


def _as_options(variables: dict[str, Any]) -> list[str]:
    return [f"--extra-vars={name}={value}" for name, value in variables.items()]


def _as_typed(command: list[str]) -> str:
    """A command line for people, in lines that are not too long."""
    glue = "\0"  # keeps an option and its value on one line
    words = " ".join(shlex.quote(word).replace("--extra-vars=", f"-e{glue}") for word in command)
    lines = textwrap.wrap(words, 100, break_long_words=False, break_on_hyphens=False)
    return "     $ " + " \\\n         ".join(lines).replace(glue, " ")
