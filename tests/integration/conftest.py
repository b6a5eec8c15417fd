# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for tests against the real thing.

A test that asks for `postgres`, `clone` or `cluster` runs with the main version of LIFEBOAT_PG; marked
`every_version`, because the version matters, once for each of them; marked `oldest_too` with the main version and the
oldest. LIFEBOAT_KEEP=1 leaves the run's folder for inspection until the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from harness import Cluster, Postgres, RunFolder, main_version, versions
from harness.playbooks import Ansible
from lifeboat_fixtures import bare_site, new_folder, new_place, site, streaming
from s3_fixtures import proxy, s3, s3_place, s3_spec, s3_store, store_for, troubled_store

__all__ = [
    "bare_site",
    "new_folder",
    "new_place",
    "proxy",
    "s3",
    "s3_place",
    "s3_spec",
    "s3_store",
    "site",
    "store_for",
    "streaming",
    "troubled_store",
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Spread tests over the PostgreSQL versions."""
    if "postgres" in metafunc.fixturenames:
        tested = [main_version()]
        if metafunc.definition.get_closest_marker("oldest_too"):
            tested = sorted({min(versions()), main_version()})
        if metafunc.definition.get_closest_marker("every_version"):
            tested = versions()
        metafunc.parametrize("postgres", tested, indirect=True, ids=[f"pg{major}" for major in tested])


@pytest.fixture(scope="session")
def postgres_versions() -> dict[int, Postgres]:
    """The versions that have been used so far."""
    return {}


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest, run_folder: RunFolder, postgres_versions: dict[int, Postgres]) -> Postgres:
    """PostgreSQL in one version: its programs, and clusters by `clone()`. A worker may come back to one."""
    major: int = request.param
    if major not in postgres_versions:
        postgres_versions[major] = Postgres(major, run_folder)
    return postgres_versions[major]


@pytest.fixture
def clone(postgres: Postgres) -> Iterator[Callable[[str], Cluster]]:
    """Makes clusters, started, with the template's contents; they go with the test."""
    with ExitStack() as clusters:
        yield lambda name="cluster": clusters.enter_context(postgres.clone(name))


@pytest.fixture
def cluster(clone: Callable[[str], Cluster]) -> Cluster:
    """A started cluster of the test's own."""
    return clone("cluster")


@pytest.fixture(scope="session")
def ansible(run_folder: RunFolder, installed_collection: Path) -> Ansible:
    """Ansible with the installed collection."""
    return Ansible(run_folder, installed_collection)


@pytest.fixture
def playbook(ansible: Ansible) -> Callable[..., object]:
    """Runs a playbook: see `Ansible.playbook`."""
    return ansible.playbook


@pytest.fixture
def module(ansible: Ansible) -> Callable[..., dict[str, object]]:
    """Runs one module and returns its result: see `Ansible.module`."""
    return ansible.module
