# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a server's archiving, and what has become of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...specs import ArchiveSpec, ClusterSpec, RepositorySpec, WalCopy
from .settings import SettingOptions

NEVER, REPORT, WHEN_NEEDED = "never", "report", "when_needed"


@dataclass(frozen=True)
class ArchivingRequest:
    """What the user wants."""

    cluster: ClusterSpec
    repository: RepositorySpec
    agent: Path
    push_options: Sequence[str]
    archive: ArchiveSpec | None = None  # everywhere that WAL goes; only `repository` unless given
    claim: str | None = None
    options: SettingOptions = SettingOptions()
    method_is_said: bool = False  # whether wal_method is the user's word, and no default
    restart: str = REPORT
    replace_archiver: bool = False
    proof_timeout: float = 60.0
    absent: bool = False

    @property
    def is_remote(self) -> bool:
        """Whether the server's files are out of reach: only what SQL can do is done then."""
        return self.cluster.method == "stream"

    @property
    def copies(self) -> ArchiveSpec:
        """Everywhere that WAL goes."""
        return self.archive or ArchiveSpec((WalCopy("main", self.repository),))


@dataclass(frozen=True)
class ArchivingResult:
    """The settings before and after, and the proof; in check mode, what would be."""

    changed: bool
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    restart_required: bool = False
    restarted: bool = False
    registered: bool = False
    proven_segment: str | None = None
    incarnation: str | None = None
    slot_before: str | None = None
    slot_after: str | None = None
