# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ensure that a repository and its key exist."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..clock import Clock
from ..errors import PreconditionError
from ..repository import repository
from ..repository.keys import generate_key_file, read_key_file
from ..specs import RepositorySpec
from ..store.opening import local_directory, open_store


@dataclass(frozen=True)
class CreateResult:
    """What exists now, or (in check mode) would."""

    changed: bool
    key_created: bool
    repository_id: str | None
    key_id: str | None


def directories(spec: RepositorySpec) -> list[Path]:
    """The directories on this machine in which the repository, if it is one here, and its key will be."""
    directory = local_directory(spec)
    return [*([directory] if directory else []), spec.key_file.parent]


def run(spec: RepositorySpec, clock: Clock, *, create_key: bool, check_mode: bool = False) -> CreateResult:
    """Make the key where there is none and none is in use, then the repository."""
    store = open_store(spec)
    present = repository.exists(store)
    new_key = not spec.key_file.exists()
    if new_key and (present or not create_key):
        raise PreconditionError(
            f"opening the repository {spec.url}" if present else f"creating the repository {spec.url}",
            f"its key file {spec.key_file} does not exist.",
            "Bring it back from where the recovery key is kept."
            if present
            else "Put a key there, or allow a new one with create_key.",
            code="key_file_missing",
        )
    if check_mode:
        if present:
            opened = repository.open_repository(store, read_key_file(spec.key_file))
            return CreateResult(False, False, opened.repository_id, read_key_file(spec.key_file).key_id)
        return CreateResult(True, new_key, None, None)
    if present:
        key = read_key_file(spec.key_file)
        return CreateResult(False, False, repository.open_repository(store, key).repository_id, key.key_id)
    store.create()  # before the key: a repository that cannot be made needs none
    key = generate_key_file(spec.key_file) if new_key else read_key_file(spec.key_file)
    made = repository.create(store, key, clock)
    return CreateResult(True, new_key, made.repository_id, key.key_id)
