# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the jobs that kill themselves the hard way have in common: dying_backup, dying_expire, dying_restore."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import config
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import (
    Event,
    PhaseStarted,
    Progress,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import ClusterSpec, RepositorySpec


def die() -> None:
    """Or whatever the signal in DYING_SIGNAL does."""
    os.kill(os.getpid(), signal.Signals[os.environ.get("DYING_SIGNAL", "SIGKILL")])


class DyingSink:
    """Dies when the phase begins, or at the first progress if the point is `bytes`."""

    def __init__(self, point: str) -> None:
        self._point = point

    def emit(self, event: Event) -> None:
        """Take an event, perhaps the last."""
        phase = event.phase if isinstance(event, PhaseStarted) else None
        if phase == self._point or (self._point == "bytes" and isinstance(event, Progress)):
            die()


def specs(path: Path, cluster: str) -> tuple[ClusterSpec, RepositorySpec]:
    """A cluster of a configuration file, and its repository."""
    return config.specs(cluster, config.cluster_settings(config.read(path), path, cluster))
