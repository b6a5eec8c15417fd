# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages are imported when they are needed, and the missing one is named with what installs it."""

from __future__ import annotations

import importlib
import subprocess
import sys

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import thirdparty

ENGINE = thirdparty.__name__.rpartition(".")[0]


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", fail)
    for name, names in thirdparty.PACKAGES.items():
        with expect.failure("python_package_missing") as failure:
            thirdparty.require(f"{name}.something")
        assert failure.value.details["package"] == name
        assert all(each in failure.value.message for each in names)
    with pytest.raises(ImportError):
        thirdparty.require("of_nobody")


def test_the_first_missing_one_of_many_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with expect.failure("python_package_missing") as failure:
        thirdparty.preload(["json", "numpy", "zstandard"])
    assert failure.value.details["package"] == "numpy"


def said_by(script: str) -> list[str]:
    """The words that a fresh interpreter prints."""
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}; {script}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_packages_can_be_looked_for_without_importing_them() -> None:
    script = (
        f"import sys; from {ENGINE} import thirdparty;"
        " thirdparty.require_installed(['psycopg', 'psycopg.sql', 'numpy', 'xxhash']);"
        " print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    said = said_by(script)
    assert not {*thirdparty.PACKAGES} & set(said)


def test_numpy_starts_no_threads_and_leaves_no_trace_of_that() -> None:
    script = (
        f"import os, sys; from {ENGINE} import thirdparty; thirdparty.require('numpy');"
        " print(len(os.listdir('/proc/self/task')), 'OPENBLAS_NUM_THREADS' in os.environ)"
    )
    said = said_by(script)
    assert said == ["1", "False"]


def test_one_that_is_not_installed_is_named_before_the_work_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with expect.failure("python_package_missing") as failure:
        thirdparty.require_installed(["xxhash", "numpy"])
    assert failure.value.details["package"] == "numpy"


def test_archiving_a_file_imports_nothing_heavy() -> None:
    script = (
        f"import sys; import {ENGINE}.cli, {ENGINE}.jobs.wal.archive, {ENGINE}.jobs.wal.fetch;"
        " print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    said = said_by(script)
    heavy = {*thirdparty.PACKAGES, "ansible", "subprocess", "tempfile", "multiprocessing"}
    assert not heavy & set(said)
