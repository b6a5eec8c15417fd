# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the user said to an opened repository."""

from __future__ import annotations

from collections.abc import Iterable

from ..specs import RepositorySpec
from ..store import opening
from ..thirdparty import preload, require_installed
from .key_providers import holder_of
from .repository import Repository, open_repository
from .stanza import Stanza

_THIRD_PARTY = ("cryptography.hazmat.primitives.ciphers.aead", "cryptography.exceptions", "zstandard")


def prepare(spec: RepositorySpec | None, packages: Iterable[str], *, stays: bool = False) -> None:
    """Import what opening the repository takes, if there is one, and `packages`; the first that is missing is named.

    A process that `stays` who it is can import them when it comes to use them: only that they are there is made sure.
    """
    (require_installed if stays else preload)((*(_THIRD_PARTY if spec else ()), *packages))
    if spec is not None:
        opening.prepare(spec)


def opened(spec: RepositorySpec) -> Repository:
    """Open the repository with the user's key or passphrase."""
    return open_repository(opening.open_store(spec), holder_of(spec.key))


def stanza_of(spec: RepositorySpec, stanza: str, *, only_lists: bool = False) -> Stanza:
    """Open one cluster's part of it. Whoever only lists needs no access to data."""
    repository = opened(spec)
    if not only_lists:
        repository.keys.require_data(f"data of {stanza} in {spec.url}")
    return Stanza(repository, stanza)
