# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster, and a repository on disk."""

from __future__ import annotations

from pathlib import Path

import made
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.key_files import generate_key_file
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.repository import create
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Incarnation, Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import KeySpec, RepositorySpec
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.local import LocalStore
from made_cluster import IDENTIFIER, Cluster


@pytest.fixture
def life(stanza: Stanza, clock: Clock) -> Incarnation:
    """The cluster is registered under the stanza."""
    return stanza.register(IDENTIFIER, 15, made.SEGMENT_BYTES, clock)


@pytest.fixture
def cluster(stanza: Stanza, life: Incarnation, clock: Clock, tmp_path: Path) -> Cluster:
    """A cluster with a few files."""
    data = made.data_directory(tmp_path / "data")
    for name in ("base/1/1259", "base/1/2619", "postgresql.conf", "postgresql.auto.conf", "pg_hba.conf"):
        (data / name).write_text(f"# {name}\n")
    return Cluster(stanza, life, data, clock)


@pytest.fixture
def on_disk(tmp_path: Path, clock: Clock) -> RepositorySpec:
    """An empty repository as a user describes it."""
    store = LocalStore(tmp_path / "repository")
    store.create()
    create(store, generate_key_file(tmp_path / "key"), clock)
    return RepositorySpec(store.url, KeySpec(key_file=tmp_path / "key"))
