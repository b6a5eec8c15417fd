# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a backup is asked for, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from ...repository import manifest
from ...retention_policy import DEFAULT_CLASS
from ...specs import ClusterSpec, RepositorySpec


@dataclass(frozen=True)
class BackupRequest:
    """What the user wants."""

    cluster: ClusterSpec
    repository: RepositorySpec
    backup_type: str = "auto"
    full_every: timedelta = timedelta(days=30)
    max_age: timedelta | None = None
    jobs: int = 2
    compression_level: int = 3
    fast_checkpoint: bool = True
    archive_wait: float | None = None  # as long as it usually takes, unless said
    fail_on_damaged_pages: bool = False
    annotations: dict[str, str] = field(default_factory=dict)
    backup_class: str = DEFAULT_CLASS
    max_rate: float | None = None  # bytes a second
    low_priority: bool = False
    # After how many bytes a worker notes what it has finished, for a later backup to go on from.
    journal_every: int = 1 << 30


@dataclass(frozen=True)
class BackupResult:
    """What was done, or (in check mode) would be."""

    changed: bool
    backup_type: str
    backup: manifest.Header | None
    damaged_pages: list[str] = field(default_factory=list)
