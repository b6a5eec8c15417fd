# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the user said to an opened repository."""

from __future__ import annotations

from ..specs import RepositorySpec
from ..store.opening import open_store
from .keys import read_key_file
from .repository import Repository, open_repository
from .stanza import Stanza

THIRD_PARTY = ("cryptography.hazmat.primitives.ciphers.aead", "cryptography.exceptions", "zstandard")


def opened(spec: RepositorySpec) -> Repository:
    """Open the repository with the user's key file."""
    return open_repository(open_store(spec.url), read_key_file(spec.key_file))


def stanza_of(spec: RepositorySpec, stanza: str) -> Stanza:
    """Open one cluster's part of it."""
    return Stanza(opened(spec), stanza)
