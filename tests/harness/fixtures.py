# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of all tests against something real: the run's folder, and the collection as a user installs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .playbooks import install_collection
from .run_folder import RunFolder


@pytest.fixture(scope="session")
def run_folder() -> Iterator[RunFolder]:
    """The folder of this run; everything in it, processes included, ends with the run."""
    folder = RunFolder()
    yield folder
    folder.finish()


@pytest.fixture(scope="session")
def installed_collection(run_folder: RunFolder) -> Path:
    """The collections path that holds this checkout's collection, built and installed."""
    return install_collection(run_folder)
