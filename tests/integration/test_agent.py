# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`lifeboat_agent` installs the command `lifeboat`: the modules' own source, whole, and working without Ansible."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import PROGRAMS, run, server_user
from harness.machine import CLEAN_ENVIRONMENT
from support import STANZA, Result, Site, Task, assert_refused, task, tree

ENGINE = "ansible_collections/lifeboat/postgresql/plugins/module_utils/_engine"
# Runs the application in an interpreter to which nothing of Ansible can be imported, and says if something was.
WITHOUT_ANSIBLE = """
import importlib.abc, runpy, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('ansible', 'ansible_collections'):
            raise ImportError(f'{name} must not be needed')

sys.meta_path.insert(0, Refuse())
application, *sys.argv[1:] = sys.argv[1:]
try:
    runpy.run_path(application, run_name='__main__')
except SystemExit as end:
    status = end.code or 0
found = [name for name in sys.modules if name.partition('.')[0].startswith('ansible')]
sys.exit(f'imported {found}' if found else status)
"""


class Host:
    """A place for the command and its file, with a key and a repository in the neighbourhood."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.folder = folder
        self.prefix = folder / "usr"
        self.link = self.prefix / "bin/lifeboat"
        self.config_file = folder / "etc/lifeboat.conf"

    def task(self, *, check: bool = False, **options: Any) -> Task:
        """The module with what it needs."""
        files = {"prefix": self.prefix, "config_file": self.config_file}
        described = {
            "repositories": [{"name": "r", "url": "/srv/r", "key_file": "/etc/lifeboat/r.key"}],
            "clusters": [{"name": "main", "repository": "r", "login_port": 5433}],
        }
        wanted = {**files, "interpreter": PROGRAMS / "python", **described, **options}
        return task("lifeboat_agent", check=check, **wanted)

    def install(self, **how: Any) -> Result:
        """Run it; its result."""
        return self.site.play(self.task(), **how)[0]

    def applications(self) -> list[Path]:
        """The versions that are there."""
        return sorted((self.prefix / "lib/lifeboat").iterdir())

    def version(self) -> str:
        """What the command says of itself, asked as the server's user."""
        return run([self.link, "--version"], user=server_user()).stdout.strip()


@pytest.fixture
def host(site: Site, new_folder: Callable[[], Path]) -> Host:
    return Host(site, new_folder())


@pytest.fixture(scope="module")
def later_version(site: Site, new_folder: Callable[[], Path]) -> dict[str, str]:
    """Ansible's environment with a collection whose engine is another version."""
    collections = new_folder() / "collections"
    shutil.copytree(site.ansible.collections, collections)
    with (collections / ENGINE / "version.py").open("a") as source:
        source.write('VERSION += "+later"\n')
    return {"ANSIBLE_COLLECTIONS_PATH": str(collections)}


def test_a_second_run_changes_nothing_and_check_mode_predicts(host: Host) -> None:
    (predicted,) = host.site.play(host.task(check=True))
    assert list(host.folder.iterdir()) == []
    made, again, other_file = host.site.play(
        host.task(), host.task(), host.task(check=True, clusters=[{"name": "main", "repository": "r"}])
    )
    assert predicted["changed"] and made["changed"]
    assert not again["changed"] and other_file["changed"]
    assert predicted["diff"] == made["diff"]
    file_diff, command_diff = made["diff"]
    assert file_diff["after"] == host.config_file.read_text() and "login_port = 5433" in file_diff["after"]
    assert command_diff["after"].strip() == made["application"] == str(host.link.resolve())
    assert host.version().startswith("lifeboat ")


def test_the_application_is_the_modules_source(site: Site) -> None:
    sources = site.ansible.collections / ENGINE
    expected = {f"lifeboat/{path.relative_to(sources)}": path.read_bytes() for path in sources.rglob("*.py")}
    with zipfile.ZipFile(site.command.resolve()) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    found.pop("__main__.py")
    assert {name: content for name, content in found.items() if name.endswith(".py")} == expected
    assert set(found) == {name + suffix for name in expected for suffix in ("", "c")}
    for name, source in expected.items():
        magic, flags, digest = found[name + "c"][:4], found[name + "c"][4:8], found[name + "c"][8:16]
        # bit 0: valid by the source's hash, not its time; bit 1, which is not set: compare at every start
        assert (magic, flags) == (importlib.util.MAGIC_NUMBER, b"\x01\0\0\0"), name
        assert digest == importlib.util.source_hash(source), name


def test_what_is_damaged_is_repaired(host: Host) -> None:
    application = Path(host.install()["application"])
    content = application.read_bytes()

    def put(changed: bytes) -> None:
        application.write_bytes(changed)

    damages: list[Callable[[], object]] = [
        lambda: put(bytes([*content[:4], content[4] ^ 1, *content[5:]])),  # the interpreter's name
        lambda: put(bytes([*content[:50000], content[50000] ^ 1, *content[50001:]])),
        lambda: put(bytes([*content[:-3000], content[-3000] ^ 1, *content[-2999:]])),  # the table of contents
        lambda: put(content[:-100]),
        lambda: application.chmod(0o644),
        lambda: application.chmod(0o700),
        host.link.unlink,
    ]
    for damage in damages:
        damage()
        predicted, repaired = host.site.play(host.task(check=True), host.task())
        assert predicted["changed"] and repaired["changed"]
        assert application.read_bytes() == content
        assert host.version().startswith("lifeboat ")
    assert host.applications() == [application]


def test_every_command_works_without_ansible(site: Site, new_folder: Callable[[], Path]) -> None:
    folder = new_folder()
    segment = site.archive_everything()
    archived = (site.cluster.data_directory / "pg_wal" / segment).read_bytes()  # a checkpoint may remove it

    def lifeboat(command: str, *arguments: str | Path) -> str:
        where = ("--config", site.config_file, "--cluster", STANZA)
        options = where if not command.startswith("--") else ()
        isolated = [PROGRAMS / "python", "-I", "-c", WITHOUT_ANSIBLE, site.command, command, *options, *arguments]
        return run(isolated, user=server_user()).stdout

    assert lifeboat("--version").startswith("lifeboat ")
    assert "backup " in lifeboat("backup")
    assert site.backup_ids()[-1] in lifeboat("info")
    lifeboat("archive-fetch", segment, folder / segment)
    assert (folder / segment).read_bytes() == archived
    lifeboat("archive-push", folder / segment)


def test_a_running_command_outlives_its_replacement(host: Host, later_version: dict[str, str]) -> None:
    before = Path(host.install()["application"])
    fifo = host.folder / "settings"
    os.mkfifo(fifo, 0o644)
    command = [str(host.link), "info", "--config", str(fifo), "--cluster", STANZA]
    with subprocess.Popen(command, env=CLEAN_ENVIRONMENT, cwd="/", stdout=subprocess.PIPE, text=True) as running:
        with fifo.open("w") as settings:  # opens when the command reads its settings, and has most imports before it
            later = Path(host.install(env=later_version)["application"])
            assert host.version().endswith("+later")
            assert host.applications() == sorted([before, later])
            settings.write(host.site.config_file.read_text())
        output, _ignored = running.communicate()
    assert running.returncode == 0
    assert host.site.backup_ids()[-1] in output

    back = Path(host.install()["application"])
    assert back == before and host.applications() == [before]
    assert not host.version().endswith("+later")


def test_it_goes_without_a_trace_but_for_keys_and_repositories(host: Host) -> None:
    host.install()
    key = host.config_file.with_name("r.key")
    key.write_text("the key")
    (host.folder / "usr/bin/another").write_text("command")
    predicted, gone, again = host.site.play(
        host.task(check=True, state="absent"), host.task(state="absent"), host.task(state="absent")
    )
    assert (predicted["changed"], gone["changed"], again["changed"]) == (True, True, False)
    assert predicted["diff"] == gone["diff"]
    assert [path for path in host.folder.rglob("*") if not path.is_dir()] == [key, host.folder / "usr/bin/another"]


def test_what_is_refused_leaves_nothing(host: Host) -> None:
    before = tree(host.folder)
    missing, group = host.site.play(
        host.task(interpreter="/usr/bin/python2.4"), host.task(group="no-such-group"), fails=True
    )
    assert_refused("interpreter_missing", missing)
    assert_refused("unknown_group", group)
    (forbidden,) = host.site.play(host.task(prefix="/lifeboat-test"), fails=True, as_server_user=True)
    assert "/lifeboat-test" in assert_refused("install_not_permitted", forbidden)["msg"]
    assert tree(host.folder) == before
