# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The on-host command: the same file from the same source, another one from any other, and it runs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import agent_bundle
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.agent_bundle import (
    Installation,
    build,
    bundle_digest,
    engine_sources,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.version import VERSION

TINY = {"__init__.py": b"", "cli.py": b"def main():\n    print('it runs')\n    return 3\n", "jobs/__init__.py": b""}
# Goes on, and imports more, when its standard input ends.
LASTING = b"""
import sys

def main():
    print('begun', flush=True)
    sys.stdin.read()
    from . import late
    return late.STATUS
"""


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path / "prefix", sys.executable)


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([path, *arguments], env={}, capture_output=True, text=True, check=False)


# --- one source, one file


def test_the_same_source_makes_the_same_file() -> None:
    assert build(TINY, "/usr/bin/python3") == build(dict(reversed(TINY.items())), "/usr/bin/python3")


@pytest.mark.parametrize(
    ("sources", "interpreter"),
    [
        ({**TINY, "cli.py": b"def main():\n    return 4\n"}, "/usr/bin/python3"),
        ({**TINY, "more.py": b""}, "/usr/bin/python3"),
        ({name: source for name, source in TINY.items() if name != "jobs/__init__.py"}, "/usr/bin/python3"),
        (TINY, "/usr/bin/python3.9"),
    ],
)
def test_another_source_or_interpreter_makes_another_name(sources: dict[str, bytes], interpreter: str) -> None:
    assert bundle_digest(sources, interpreter) != bundle_digest(TINY, "/usr/bin/python3")


def test_what_is_in_one_file_cannot_be_taken_for_what_is_in_another() -> None:
    one, other = {"a.py": b"x", "b.py": b"y"}, {"a.py": b"x\0b.py\0" + b"1\0y"}
    assert bundle_digest(one, "p") != bundle_digest(other, "p")


def test_the_digest_depends_on_how_it_starts_and_on_the_bytecodes_format(monkeypatch: pytest.MonkeyPatch) -> None:
    before = bundle_digest(TINY, "p")
    with monkeypatch.context() as patch:
        patch.setattr(agent_bundle, "_MAIN", "another start")
        assert bundle_digest(TINY, "p") != before
    monkeypatch.setattr(agent_bundle, "MAGIC_NUMBER", b"another format")
    assert bundle_digest(TINY, "p") != before


def test_it_holds_the_whole_engine_with_its_bytecode() -> None:
    sources = engine_sources()
    root = Path(agent_bundle.__file__).parent
    assert set(sources) == {str(path.relative_to(root)) for path in root.rglob("*.py")}
    with zipfile.ZipFile(io.BytesIO(build(sources, "/usr/bin/python3"))) as archive:
        names = archive.namelist()
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert all(archive.read(f"lifeboat/{name}") == source for name, source in sources.items())
    assert names == sorted(["__main__.py", *(f"lifeboat/{name}{c}" for name in sources for c in ("", "c"))])


# --- installing


def test_the_installed_command_is_the_engine(installation: Installation) -> None:
    installation.install(engine_sources())
    assert run(installation.link, "--version").stdout == f"lifeboat {VERSION}\n"
    modes = [
        path.stat().st_mode & 0o777 for path in (installation.library, installation.link.parent, installation.link)
    ]
    assert modes == [0o755] * 3


def test_a_second_installation_changes_nothing(installation: Installation) -> None:
    assert not installation.installed()
    assert not installation.is_current(TINY)
    installation.install(TINY)
    assert installation.installed()
    assert installation.is_current(TINY)
    assert run(installation.link).stdout == "it runs\n"
    assert run(installation.link).returncode == 3


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "gone", "link elsewhere", "link gone"])
def test_a_damaged_installation_is_not_current_and_is_mended(installation: Installation, damage: str) -> None:
    installation.install(TINY)
    application = installation.application(TINY)
    if damage == "flipped":
        application.write_bytes(application.read_bytes().replace(b"it runs", b"it rums"))
    elif damage == "cut":
        application.write_bytes(application.read_bytes()[:-30])
    elif damage == "empty":
        application.write_bytes(b"")
    elif damage == "gone":
        application.unlink()
    else:
        installation.link.unlink()
        if damage == "link elsewhere":
            installation.link.symlink_to("/usr/bin/true")
    assert not installation.is_current(TINY)
    installation.install(TINY)
    assert installation.is_current(TINY)


def test_an_older_version_stays_while_it_is_in_use(installation: Installation) -> None:
    older = {**TINY, "cli.py": LASTING, "late.py": b"STATUS = 7\n"}
    installation.install(older)
    with subprocess.Popen([installation.link], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        installation.install(TINY)
        assert installation.application(older).exists()
        running.communicate()
    assert running.returncode == 7
    installation.install(TINY)
    assert not installation.application(older).exists()
    assert installation.is_current(TINY)


def test_a_command_that_cannot_begin_does_not_look_like_the_end_of_the_archive(installation: Installation) -> None:
    lazily = b"def main():\n    from .cli import main\n"
    for broken in ("cli.py", "foreground.py"):
        installation.install({**TINY, "foreground.py": lazily, broken: b"import no_such_module\n"})
        done = run(installation.link, "archive-fetch", "x", "y")
        assert done.returncode > 125
        assert "no_such_module" in done.stderr


def test_what_was_installed_can_be_taken_away(installation: Installation) -> None:
    installation.install(TINY)
    (installation.link.parent / "another command").touch()
    installation.remove()
    installation.remove()
    assert not installation.installed()
    assert os.listdir(installation.link.parent) == ["another command"]
    assert not installation.library.exists()
