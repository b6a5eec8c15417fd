# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the work folder lies, that it goes without a trace, and how a run in continuous integration ends."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from harness import CHECKOUT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The development scripts in a checkout that other users cannot enter, as pytest's folders are."""
    shutil.copytree(CHECKOUT / "tools/dev", tmp_path / "tools/dev")
    shutil.copytree(CHECKOUT / ".ci", tmp_path / ".ci")
    return tmp_path


def work_folder(checkout: Path) -> subprocess.CompletedProcess[str]:
    script = f". {checkout}/tools/dev/lib.sh && work_folder"
    return subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=False)


def test_other_users_can_enter_the_work_folder_and_clean_removes_it(checkout: Path) -> None:
    folder = Path(work_folder(checkout).stdout.strip())
    assert work_folder(checkout).stdout.strip() == str(folder)
    assert folder == (checkout / "build").resolve()
    inside = folder.is_relative_to(checkout)
    assert inside == (os.geteuid() != 0)
    assert inside or all(above.stat().st_mode & 0o001 for above in [folder, *folder.parents])
    (folder / "something").touch()
    subprocess.run([checkout / "tools/dev/clean.sh"], check=True)
    assert not folder.exists()
    assert not os.path.lexists(checkout / "build")


@pytest.mark.parametrize("status", [0, 2])
def test_ci_ends_with_pytests_closing_line_and_its_status(checkout: Path, status: int) -> None:
    closing = "============ 1 failed, 2 passed in 61.50s (0:01:01) ============"
    programs = checkout / "programs"
    programs.mkdir()
    (programs / "make").write_text(f"#!/bin/sh\necho '{closing}'\necho 'make: *** [test] Error' >&2\nexit {status}\n")
    (programs / "make").chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run([checkout / ".ci/run"], env=environment, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == status
    assert done.stdout.splitlines()[-1] == closing
