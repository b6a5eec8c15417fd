# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for tests on real systemd hosts; see tests/harness/lab. LIFEBOAT_KEEP=1 leaves what the hosts wrote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import RunFolder
from harness.lab import Lab
from harness.playbooks import Ansible


@pytest.fixture(scope="module")
def lab(run_folder: RunFolder) -> Iterator[Lab]:
    """Two hosts, each with a PostgreSQL server. The tests of a module share them, one after another."""
    with Lab(run_folder, "db1", "db2") as hosts:
        yield hosts


@pytest.fixture(scope="module")
def ansible(run_folder: RunFolder, installed_collection: Path, lab: Lab) -> Ansible:
    """Ansible in the lab's network, with the installed collection."""
    return Ansible(run_folder, installed_collection, lab.enter_network)
