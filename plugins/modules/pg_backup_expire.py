#!/usr/bin/python
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a retention policy to the backups of a PostgreSQL cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup_expire
short_description: Apply a retention policy to the backups of a PostgreSQL cluster
version_added: 0.1.0
description:
  - Removes the backups that a policy does not keep, and the archived WAL that no kept backup needs.
  - The policy comes from C([retention NAME]) in the configuration file, which the cluster names there, and from the
    options below, each of which wins over the file.
  - Without any rule nothing expires. Then the module only collects garbage, which is what interrupted work has left.
  - A backup that expires is gone at once. The data that only it needed is marked, and deleted by the first run after
    O(grace_hours) that finds that still nobody needs it. Run it regularly, for example after every backup.
  - The newest good backup is never removed, nor is one that a running backup builds on. The age of the parent of an
    incremental backup does not matter, because every backup is complete without the others.
  - A repository that gets only the cluster's WAL keeps what the backups in its other repositories need, those that the
    configuration file names. While one of them cannot be read, all WAL stays.
  - Backups may run at the same time. It can be interrupted at any moment; the next run goes on.
author: Lifeboat contributors (@lifeboat)
extends_documentation_fragment:
  - lifeboat.postgresql.cluster
  - lifeboat.postgresql.connection
  - lifeboat.postgresql.s3
options:
  keep_last:
    description:
      - How many of the newest backups to keep, counted for each class by itself. Backups that cannot be restored do
        not count.
      - An entry such as V(pre_migration=2) is for one class, a number alone for all others. With V(0) none is kept for
        this reason.
    type: list
    elements: str
  keep_days:
    description:
      - For how many days to keep backups, in the same form as O(keep_last).
      - A number alone is also the recovery window. So that every moment in it can be reached, the newest backup from
        before it is kept as well.
      - With O(keep_last) too, a backup is kept when either says so.
    type: list
    elements: str
  keep_wal_days:
    description:
      - Of how many days the WAL is kept that leads from any moment to any other, beginning with the newest backup from
        before them.
      - Older backups then keep only the WAL that makes them consistent, and can be restored to their own end, with
        C(target_immediate) of M(lifeboat.postgresql.pg_restore).
      - Without it WAL is kept from the oldest kept backup on.
    type: float
  grace_hours:
    description:
      - For how many hours data that nobody needs stays, before it is deleted. Defaults to 24.
      - A restore that has begun from a backup that expires has so long to end. It is also a margin for
        backups on other hosts whose signs of life are late, and for stores that tell of changes late.
      - Say V(0) only when space is short and no backup or restore of this cluster is running anywhere.
    type: float
  owner:
    description:
      - The user to work as in the repository, when the module runs as root.
      - Defaults to the owner of O(data_directory), else of the repository.
    type: str
attributes:
  check_mode:
    support: full
    description: Returns the plan, with what would be removed, and removes nothing.
  diff_mode:
    support: full
    description: Shows a line for every backup with its reasons; those of backups that go, and of garbage, vanish.
  idempotent:
    support: full
    description: A second run changes nothing, until time has passed.
"""

EXAMPLES = r"""
- name: Keep a week, and two backups from before migrations for three months
  lifeboat.postgresql.pg_backup_expire:
    cluster: main
    keep_last: [3, pre_migration=2]
    keep_days: [7, pre_migration=90]
    keep_wal_days: 7

- name: Apply the policy of the configuration file
  lifeboat.postgresql.pg_backup_expire:
    cluster: main
"""

RETURN = r"""
kept:
  description: The backups that are kept, oldest first.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The backup.
      type: str
    class:
      description: What it was made for.
      type: str
    finished:
      description: When it was whole, in UTC.
      type: str
    reasons:
      description: Everything that speaks for it.
      type: list
      elements: str
expired:
  description: The backups that were removed, or would be, in the same form, with the reasons against them.
  returned: success
  type: list
  elements: dict
wal:
  description: Archived WAL that was marked by this run, or would be.
  returned: success
  type: list
  elements: dict
  contains:
    incarnation:
      description: The life of the cluster it belongs to.
      type: str
    timeline:
      description: The timeline.
      type: int
    first:
      description: The first file.
      type: str
    last:
      description: The last file.
      type: str
    files:
      description: How many files there are.
      type: int
condemned:
  description: What was marked by this run because nobody needs it, or would be; C(objects) and C(bytes).
  returned: success
  type: dict
waiting:
  description: What is marked and waits for the end of its grace period; C(objects) and C(bytes).
  returned: success
  type: dict
deleted:
  description: What was deleted by this run, or would be; C(objects) and C(bytes).
  returned: success
  type: dict
forgotten:
  description: Backups that died and that nobody will go on from, with C(id) and C(reason).
  returned: success
  type: list
  elements: dict
withdrawn:
  description: Backups that became visible after they had been taken for dead, and were removed.
  returned: success
  type: list
  elements: str
unfinished:
  description: How many temporary files or unfinished uploads were removed, or would be.
  returned: success
  type: int
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import arguments, runner, settings
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import retention_policy
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.as_owner import owner_of_new
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.repository import (
    create as create_repository,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.retention import elsewhere, expire
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.retention import (
    summary as expire_summary,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.ports import ProgressSink


def main() -> None:
    """Parse, run, exit."""
    module = AnsibleModule(
        argument_spec={**arguments.SHARED, **arguments.RETENTION, "owner": {"type": "str"}}, supports_check_mode=True
    )
    params = module.params
    with runner.reporting(module):
        cluster, repository = settings.specs(params)
        policy = retention_policy.parse(settings.cluster_values(params))
        others = settings.other_repositories(params, repository)
        elsewhere.prepare(others)
        request = expire.ExpireRequest(repository, cluster.stanza, policy, others)

        def task(sink: ProgressSink) -> dict[str, Any]:
            result = expire_summary.values(expire.run(request, SystemClock(), sink, check_mode=module.check_mode))
            return {**result, "diff": expire_summary.diff(result, cluster.stanza)}

        place = create_repository.directories(repository)[0]
        runner.run(module, repository, (), lambda: owner_of_new(place, params["owner"], cluster.data_directory), task)


if __name__ == "__main__":
    main()
