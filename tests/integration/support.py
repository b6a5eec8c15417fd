# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster with Lifeboat set up as a user would, and how tests use it: by plays, and by the on-host command."""

from __future__ import annotations

import hashlib
import json
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import PROGRAMS, Cluster, run, server_user, wait_until
from harness.playbooks import HOST, NAMESPACE, Ansible, PlaybookFailed, PlaybookRun

Task = dict[str, Any]
Result = dict[str, Any]

STANZA = "main"


def task(name: str, *, check: bool = False, **options: Any) -> Task:
    """A task for `Site.play`: one of our modules, always with its diff."""
    return {"name": name, NAMESPACE + name: options, "check_mode": check, "diff": True}


def summarizing(major: int) -> dict[str, bool]:
    """What has a server note what its WAL changes, if it can: options of pitr_configure."""
    return {"summarize_wal": True} if major >= 17 else {}


@dataclass(frozen=True)
class Site:
    """A cluster, its repository and its key, the command `lifeboat` and the file that describes them all."""

    ansible: Ansible
    cluster: Cluster
    folder: Path

    @property
    def repository(self) -> Path:
        """The repository's directory."""
        return self.folder / "repository"

    @property
    def key_file(self) -> Path:
        """The repository's key."""
        return self.folder / "keys/repository.key"

    @property
    def config_file(self) -> Path:
        """What takes the place of /etc/lifeboat/lifeboat.conf."""
        return self.folder / "etc/lifeboat.conf"

    @property
    def command(self) -> Path:
        """The on-host command."""
        return self.folder / "usr/bin/lifeboat"

    @property
    def python_path(self) -> dict[str, str]:
        """The environment in which Python finds the installed collection."""
        return {"PYTHONPATH": str(self.ansible.collections)}

    @property
    def agent_task(self) -> Task:
        """The task that installs command and configuration."""
        return task(
            "lifeboat_agent",
            prefix=self.folder / "usr",
            interpreter=PROGRAMS / "python",
            repositories=[{"name": "local", "url": self.repository, "key_file": self.key_file}],
            clusters=[
                {
                    "name": STANZA,
                    "repository": "local",
                    "data_directory": self.cluster.data_directory,
                    "bin_dir": self.cluster.postgres.bin_dir,
                }
            ],
        )

    def playbook(self, *tasks: Task, fails: bool = False, progress: bool = False, **how: Any) -> PlaybookRun:
        """Run tasks in one play; *fails* lets it go on after failures, *progress* shows that of long tasks."""
        play = {
            "hosts": HOST,
            "gather_facts": False,
            "module_defaults": {
                "group/lifeboat.postgresql.lifeboat": {
                    "config_file": self.config_file,
                    "agent_command": self.command,
                }
            },
            "tasks": [{**each, "ignore_errors": True} for each in tasks] if fails else tasks,
        }
        how["env"] = {"LIFEBOAT_PROGRESS": "yes" if progress else "no", "ANSIBLE_PIPELINING": "1", **how.get("env", {})}
        return self.ansible.playbook(json.dumps([play], indent=1, default=str), **how)

    def play(self, *tasks: Task, **how: Any) -> list[Result]:
        """Run tasks in one play, see `playbook`; their results in order, each saying whether it `failed`."""
        finished = self.playbook(*tasks, **how)
        if len(finished.tasks) != len(tasks):
            raise PlaybookFailed(finished.output)
        return [{**each.result, "failed": each.status == "failed"} for each in finished.tasks]

    def module(self, name: str, **options: Any) -> Result:
        """Run one module that must succeed; its result."""
        return self.play(task(name, **options))[0]

    def refused(self, code: str, name: str, **options: Any) -> Result:
        """Run one module that must fail with this code; its result."""
        return assert_refused(code, self.play(task(name, **options), fails=True)[0])

    def lifeboat(self, *arguments: str | Path, check: bool = True, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run the on-host command as the server's user, for this cluster."""
        command, *rest = arguments
        return run(
            [self.command, command, "--config", self.config_file, "--cluster", STANZA, *rest],
            **{"user": server_user(), "check": check, **how},
        )

    def command_refused(self, code: str, *arguments: str | Path, status: int = 1, **how: Any) -> str:
        """Run the on-host command, which must fail with this code; what it said."""
        done = self.lifeboat(*arguments, check=False, **how)
        assert (done.returncode, f"error [{code}]" in done.stderr) == (status, True), done
        assert "Traceback" not in done.stderr
        return done.stderr

    def backup_ids(self) -> list[str]:
        """The backups that can be seen, oldest first."""
        return [backup["id"] for backup in json.loads(self.lifeboat("info", "--json").stdout)["backups"]]

    def archive_everything(self) -> str:
        """Switch to a new segment and wait until the finished one is archived; its name."""
        self.cluster.sql("SELECT pg_create_restore_point('the end of a segment')")
        ((segment,),) = self.cluster.sql("SELECT pg_walfile_name(pg_switch_wal())")
        query = "SELECT last_archived_wal >= %(segment)s FROM pg_stat_archiver"
        wait_until(lambda: self.cluster.sql(query, segment=segment) == [(True,)], f"{segment} was archived")
        return str(segment)

    def settings(self) -> list[tuple[Any, ...]]:
        """The server's settings, those that await a restart too, and the file that ALTER SYSTEM writes."""
        auto = (self.cluster.data_directory / "postgresql.auto.conf").read_text()
        query = "SELECT name, setting, pending_restart FROM pg_settings ORDER BY 1"
        return [*self.cluster.sql(query, db="postgres"), (auto,)]


def assert_refused(code: str, result: Result) -> Result:
    """One clear error: the code, what was attempted, what happened and what to do, and nothing of our insides."""
    assert (result["failed"], result.get("error_code"), result["changed"]) == (True, code, False), result
    for part in ("attempted", "happened", "remedy"):
        assert result[part] and result[part] in result["msg"]
    assert "Traceback" not in json.dumps(result)
    return result


def script_command(site: Site, name: str, folder: Path | None = None) -> list[str | Path]:
    """What runs a script of this folder as the server's user, who may not read the checkout, for the site's cluster.

    It takes the collection from PYTHONPATH, see `Site.python_path`, and further arguments.
    """
    folder = folder or site.folder
    for each in (name, "dying.py"):
        copy = folder / each
        copy.write_bytes(Path(__file__).with_name(each).read_bytes())
        copy.chmod(0o644)
    return [PROGRAMS / "python", folder / name, site.config_file, STANZA]


def start_and_recover(cluster: Cluster) -> None:
    """Start a restored directory and wait until its recovery is over; hot standby connections come earlier."""
    cluster.start()
    wait_until(lambda: cluster.sql("SELECT pg_is_in_recovery()") == [(False,)], "the recovery had ended")


def tree(*roots: Path) -> dict[str, tuple[int, str]]:
    """Everything below these directories, or that they do not exist: mode, and content or target."""
    found = {}
    for root in roots:
        for path in [root, *sorted(root.rglob("*"))]:
            try:
                facts = path.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(facts.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                content = str(path.readlink()) if path.is_symlink() else ""
            found[str(path)] = (stat.S_IMODE(facts.st_mode), content)
    return found


def objects(repository: Path) -> Iterator[str]:
    """The names of a repository's visible objects."""
    for path in sorted(repository.rglob("*")):
        if path.is_file() and not path.name.startswith("."):
            yield str(path.relative_to(repository))
