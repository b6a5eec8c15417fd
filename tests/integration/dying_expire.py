# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Started by a test: expiry that kills itself the hard way at a chosen point.

    dying_expire.py CONFIG CLUSTER POINT

POINT is a number: how many objects it may delete or withdraw before it dies; or the phase at whose beginning it does.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import retention_policy
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.retention import expire
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.local import LocalStore
from dying import DyingSink, die, specs


def die_after_deletions(count: int) -> None:
    """Let the process die instead of deleting one object more."""
    delete, deleted = LocalStore.delete, []

    def dying(self: LocalStore, name: str, **how: Any) -> None:
        deleted.append(name)
        if len(deleted) > count:
            die()
        delete(self, name, **how)

    LocalStore.delete = dying  # type: ignore[method-assign]


def main(path: Path, name: str, point: str) -> None:
    """Expire all but the newest backup, or die trying."""
    cluster, repository = specs(path, name)
    if point.isdecimal():
        die_after_deletions(int(point))
    policy = retention_policy.parse({"keep_last": "1", "grace_hours": "0"})
    expire.run(expire.ExpireRequest(repository, cluster.stanza, policy), SystemClock(), DyingSink(point))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
