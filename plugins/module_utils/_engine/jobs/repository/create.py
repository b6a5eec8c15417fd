# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ensure that a repository, its key and its recipients exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...clock import Clock
from ...errors import PreconditionError
from ...repository import repository
from ...repository.key_files import generate_key_file
from ...repository.key_providers import holder_of
from ...specs import RepositorySpec
from ...store.opening import local_directory, open_store
from . import recipients
from .recipients import RecipientsResult, WantedRecipient


@dataclass(frozen=True)
class CreateResult:
    """What exists now, or (in check mode) would."""

    changed: bool
    key_created: bool
    repository_id: str | None
    key_id: str | None
    recipients: RecipientsResult


def directories(spec: RepositorySpec) -> list[Path]:
    """The directories on this machine in which the repository, if it is one here, and its key file will be."""
    key_file = spec.key.key_file
    return [each for each in (local_directory(spec), key_file.parent if key_file else None) if each is not None]


def run(
    spec: RepositorySpec,
    clock: Clock,
    *,
    create_key: bool,
    wanted: Sequence[WantedRecipient] = (),
    check_mode: bool = False,
) -> CreateResult:
    """Make the key where there is none and none is in use, then the repository, then its recipients."""
    recipients.check(wanted)
    store = open_store(spec)
    present = repository.exists(store)
    key_file = spec.key.key_file
    new_key = key_file is not None and not key_file.exists()
    if new_key and (present or not create_key):
        raise PreconditionError(
            f"opening the repository {spec.url}" if present else f"creating the repository {spec.url}",
            f"its key file {key_file} does not exist.",
            "Bring it back from where the recovery key is kept."
            if present
            else "Put a key there, or allow a new one with create_key.",
            code="key_file_missing",
        )
    if not present:
        recipients.require_obtainable(wanted, create_key)
        if check_mode:
            return CreateResult(True, new_key, None, None, recipients.of_new_repository(spec.key, wanted))
        store.create()  # before the key: a repository that cannot be made needs none
        if new_key and key_file is not None:
            generate_key_file(key_file)
    holder = holder_of(spec.key)
    opened = repository.open_repository(store, holder) if present else repository.create(store, holder, clock)
    found = recipients.ensure(opened, holder, wanted, create_keys=create_key, check_mode=check_mode)
    if not present:
        found = replace(found, before=[], changed=True)
    return CreateResult(found.changed, new_key, opened.repository_id, opened.recipient.key_id, found)
