#!/usr/bin/python
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a backup or a point in time back as a new cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_restore
short_description: Restore a PostgreSQL cluster, to its newest state or to a point in time
version_added: 0.1.0
description:
  - Restores a physical backup into a new data directory, replays WAL to the target, and leaves the cluster running.
  - Everything is checked before the first byte is written; a directory that is not empty is never touched.
  - Until the restore is complete the directory cannot be started; an interrupted restore goes on when it is run again.
  - The restored cluster has C(archive_mode) off, so that it cannot write into the archive of the cluster it came from.
author: Lifeboat contributors (@lifeboat)
extends_documentation_fragment:
  - lifeboat.postgresql.cluster
  - lifeboat.postgresql.connection
  - lifeboat.postgresql.s3
options:
  destination:
    description:
      - The new cluster's data directory. It must be empty or not exist, unless O(delta) is set.
      - Its parent directory must be writable by the O(owner).
    type: path
    required: true
  owner:
    description:
      - The user who shall own the restored cluster, when the module runs as root.
      - Defaults to the owner of O(data_directory), else of the directory in which O(destination) is made.
    type: str
  backup:
    description: The backup's id, or V(latest) for the newest one that can reach the target.
    type: str
    default: latest
  target_time:
    description:
      - The point in time to recover to, in ISO 8601 with its zone, such as V(2026-11-21T14:30:00+01:00).
      - Without it everything that was archived is replayed.
    type: str
  port:
    description: The new cluster's port. Without it the port in its restored configuration.
    type: int
  socket_directory:
    description: The directory of the new cluster's Unix socket. Without it the one in its restored configuration.
    type: path
  delta:
    description:
      - Bring the cluster that is in O(destination) back in place, writing only what differs.
      - It must be the very cluster that the backup is of, and it must not run. Its tablespaces stay where they are,
        and its WAL that was never archived is archived now or set aside beside it.
      - B(Everything else in the directory is replaced.)
    type: bool
    default: false
  max_rate:
    description: Write at most this many megabytes a second.
    type: float
  low_priority:
    description: Whether to leave processor and disk to others.
    type: bool
    default: false
  tablespace_mapping:
    description:
      - A new directory for each tablespace of the backup, by its original location.
      - The original locations are used only with O(delta), where the cluster is the original.
    type: dict
    default: {}
  start:
    description: Whether to start the cluster and replay WAL. When V(false) the directory is left ready to be started.
    type: bool
    default: true
  jobs:
    description: How many workers fetch and write.
    type: int
    default: 2
  recovery_timeout:
    description: How many seconds to wait until the target has been reached.
    type: float
    default: 3600
attributes:
  check_mode:
    support: full
    description: Makes every check, and names the backup that would be restored.
  diff_mode:
    support: none
    description: There is nothing at the destination before.
  idempotent:
    support: none
    description: A second run finds the destination not empty and fails without touching it.
"""

EXAMPLES = r"""
- name: Bring back the moment before the accident, beside production
  lifeboat.postgresql.pg_restore:
    cluster: main
    destination: /var/lib/postgresql/15/rescued
    port: 5433
    target_time: "2026-11-21T14:29:59+01:00"

- name: Restore everything that was archived
  lifeboat.postgresql.pg_restore:
    repository: /srv/lifeboat
    key_file: /etc/lifeboat/main.key
    stanza: db1-main
    destination: /var/lib/postgresql/15/main
"""

RETURN = r"""
backup:
  description: The backup that was restored, or would be; as M(lifeboat.postgresql.pg_backup) returns it.
  returned: success
  type: dict
destination:
  description: The restored data directory.
  returned: success
  type: str
running:
  description: Whether the cluster was started and has reached its target.
  returned: success
  type: bool
last_commit:
  description: When the last replayed transaction was committed, as the server logged it; empty when none was replayed.
  returned: success
  type: str
phases:
  description: What was done and how many seconds it took.
  returned: success
  type: list
  elements: dict
  contains:
    phase:
      description: The step.
      type: str
    seconds:
      description: Its duration.
      type: float
missing_segments:
  description: WAL that is missing in the archive; only targets before it can be reached.
  returned: success
  type: list
  elements: str
salvaged_wal:
  description: WAL of the old cluster that was never archived, and was archived now or set aside.
  returned: success
  type: list
  elements: str
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import arguments, runner, settings
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.as_owner import owner_of_new
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs import restore, summary
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.ports import ProgressSink
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.process import Runner


def main() -> None:
    """Parse, run, exit."""
    module = AnsibleModule(
        argument_spec={
            **arguments.SHARED,
            "destination": {"type": "path", "required": True},
            "owner": {"type": "str"},
            "backup": {"type": "str", "default": "latest"},
            "target_time": {"type": "str"},
            "port": {"type": "int"},
            "socket_directory": {"type": "path"},
            "tablespace_mapping": {"type": "dict", "default": {}},
            "delta": {"type": "bool", "default": False},
            "start": {"type": "bool", "default": True},
            "max_rate": {"type": "float"},
            "low_priority": {"type": "bool", "default": False},
            "jobs": {"type": "int", "default": 2},
            "recovery_timeout": {"type": "float", "default": 3600},
        },
        supports_check_mode=True,
    )
    params = module.params
    with runner.reporting(module):
        cluster, repository = settings.specs(params)
        request = restore.RestoreRequest(
            repository=repository,
            stanza=cluster.stanza,
            data_directory=Path(params["destination"]),
            agent=Path(params["agent_command"]),
            backup=params["backup"],
            target=restore.target(params["target_time"]),
            bin_directory=cluster.bin_directory,
            port=params["port"],
            socket_directory=Path(params["socket_directory"]) if params["socket_directory"] else None,
            tablespace_mapping=params["tablespace_mapping"],
            delta=params["delta"],
            start=params["start"],
            max_rate=runner.bytes_per_second(params["max_rate"]),
            low_priority=params["low_priority"],
            jobs=params["jobs"],
            recovery_timeout=params["recovery_timeout"],
        )

        def task(sink: ProgressSink) -> dict[str, Any]:
            result = restore.run(request, SystemClock(), Runner(), sink, check_mode=module.check_mode)
            return {
                "changed": True,
                "backup": summary.backup(result.backup),
                "destination": params["destination"],
                "running": result.started,
                "last_commit": result.last_commit or "",
                "phases": [asdict(phase) for phase in result.phases],
                "missing_segments": result.gaps,
                "salvaged_wal": result.salvaged_wal,
            }

        runner.run(
            module,
            repository,
            restore.THIRD_PARTY,
            lambda: owner_of_new(request.data_directory, params["owner"], cluster.data_directory),
            task,
        )


if __name__ == "__main__":
    main()
