# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For all unit tests: a clock, an empty repository, and a look at what is made durable."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.repository import (
    Repository,
    create,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Stanza
from fakes import MemoryStore, SteppedClock
from made import KEY


@pytest.fixture
def clock() -> Clock:
    """Time that passes when the test says so."""
    return SteppedClock()


@pytest.fixture
def store() -> MemoryStore:
    """A store of the test's own."""
    return MemoryStore()


@pytest.fixture
def repository(store: MemoryStore, clock: Clock) -> Repository:
    """An empty repository in the store."""
    return create(store, KEY, clock)


@pytest.fixture
def stanza(repository: Repository) -> Stanza:
    """A stanza that no cluster is registered under yet."""
    return Stanza(repository, "main")


@pytest.fixture
def durability(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens to files, in order: `sync NAME`, `rename NAME to NAME`, `link NAME to NAME`."""
    happened: list[str] = []
    fsync, replace, link = os.fsync, os.replace, os.link

    def name(path: str | os.PathLike[str]) -> str:
        return re.sub(r"\.(.+)\.[0-9a-f]{12}\.tmp", r"temporary \1", Path(path).name)

    def spy_fsync(descriptor: int) -> None:
        happened.append(f"sync {name(os.readlink(f'/proc/self/fd/{descriptor}'))}")
        fsync(descriptor)

    def spy_replace(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
        happened.append(f"rename {name(source)} to {name(target)}")
        replace(source, target)

    def spy_link(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
        happened.append(f"link {name(source)} to {name(target)}")
        link(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    monkeypatch.setattr(os, "link", spy_link)
    return happened


@pytest.fixture
def strict_umask() -> Iterator[None]:
    """What a hardened machine sets for its users."""
    previous = os.umask(0o077)
    yield
    os.umask(previous)
