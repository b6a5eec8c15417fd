#!/usr/bin/python
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that backups are good."""

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_verify
short_description: Prove that a PostgreSQL backup is good
version_added: 0.1.0
description:
  - Proves a backup and fails the play when anything is not good.
  - At O(level=content) every byte that the backup needs is read, authenticated and compared; nothing is written.
  - At O(level=restore) the backup is restored into a scratch server beside production, WAL is replayed to the target,
    and the result is judged by C(pg_verifybackup), C(pg_amcheck), C(pg_checksums) and your own O(assertions).
    The scratch server listens on no network, archives nothing and is removed afterwards, whatever happens.
author: Lifeboat contributors (@lifeboat)
extends_documentation_fragment:
  - lifeboat.postgresql.cluster
  - lifeboat.postgresql.connection
  - lifeboat.postgresql.s3
  - lifeboat.postgresql.target
options:
  level:
    description: How the backup is proven.
    type: str
    choices: [content, restore]
    default: content
  backup:
    description: The backup's id, or V(latest) for the newest one that can reach the target.
    type: str
    default: latest
  assertions:
    description: What must hold in the restored data. Only with O(level=restore).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What is asserted, in your words.
        type: str
        required: true
      query:
        description: A query that returns one value.
        type: str
      table:
        description: A table whose rows are counted, instead of a query; with its schema, such as C(public.orders).
        type: str
      database:
        description: The database to ask.
        type: str
        default: postgres
      equals:
        description: The value must be this, compared as text.
        type: str
      at_least:
        description: The value must be this number or more.
        type: float
  rto_target:
    description: Fail when it takes more than this many seconds until the restored server answers its first query.
    type: float
  rpo_target:
    description: Fail when the newest restored transaction is more than this many seconds older than the target.
    type: float
  scratch_directory:
    description: Where the scratch server's directory is made; it must have room for the whole cluster.
    type: path
    default: /var/tmp
  preload_libraries:
    description:
      - Libraries that the scratch server loads at its start. By default it loads none of the original's.
      - Needed are those that replay WAL of their own kind, or without which the objects that are looked at cannot be
        used, such as V(timescaledb).
    type: list
    elements: str
    default: []
  owner:
    description:
      - The user the scratch server runs as, when the module runs as root.
      - Defaults to the owner of O(data_directory).
    type: str
  jobs:
    description: How many workers read.
    type: int
    default: 2
  recovery_timeout:
    description: How many seconds to wait until the target has been reached.
    type: float
    default: 3600
attributes:
  check_mode:
    support: full
    description: Names the backup that would be proven; nothing is read beyond that, and nothing is restored.
  diff_mode:
    support: none
    description: Nothing is changed.
  idempotent:
    support: full
    description: Nothing is changed, however often it runs.
"""

EXAMPLES = r"""
- name: Read every byte of the newest backup
  lifeboat.postgresql.backup_verify:
    cluster: main

- name: Restore it and look inside
  lifeboat.postgresql.backup_verify:
    cluster: main
    level: restore
    rto_target: 1800
    rpo_target: 300
    assertions:
      - name: the orders are there
        database: shop
        table: public.orders
        at_least: 100000
      - name: no order without a customer
        database: shop
        query: SELECT count(*) FROM orders WHERE customer_id IS NULL
        equals: "0"
"""

RETURN = r"""
backup_id:
  description: The backup that was proven.
  returned: always, once a backup was found
  type: str
level:
  description: How it was proven.
  returned: always, once a backup was found
  type: str
checks:
  description: Everything that was looked at.
  returned: always, once a backup was found
  type: list
  elements: dict
  contains:
    name:
      description: What was looked at.
      type: str
    ok:
      description: Whether it was good.
      type: bool
    evidence:
      description: What was seen.
      type: str
rto_seconds:
  description: Seconds from the decision to restore to the first answered query.
  returned: with O(level=restore)
  type: float
rpo_seconds:
  description: >-
    Age of the newest restored transaction, seen from the target; without a transaction after the backup, age of the
    backup's end. None where the target is no time.
  returned: with O(level=restore)
  type: float
isolation:
  description:
    - How the scratch server was kept from every file but its own.
    - V(mount namespace) or V(user namespace) when all other files were read-only for it; otherwise V(none) with the
      reason.
  returned: with O(level=restore)
  type: str
last_commit:
  description: When the newest restored transaction was committed, in UTC; empty when none came after the backup.
  returned: with O(level=restore)
  type: str
phases:
  description: What was done and how many seconds it took.
  returned: with O(level=restore)
  type: list
  elements: dict
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import (
    arguments,
    proof,
    runner,
    settings,
    targets,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.as_owner import owner_of_new
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore import physical as restore
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.verify import restoring as verify_restore

ASSERTION = {
    "name": {"type": "str", "required": True},
    "query": {"type": "str"},
    "table": {"type": "str"},
    "database": {"type": "str", "default": "postgres"},
    "equals": {"type": "str"},
    "at_least": {"type": "float"},
}


def main() -> None:
    """Parse, run, exit."""
    module = AnsibleModule(
        argument_spec={
            **arguments.SHARED,
            "level": {"type": "str", "choices": ["content", "restore"], "default": "content"},
            "backup": {"type": "str", "default": "latest"},
            **targets.TARGET,
            "assertions": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": ASSERTION,
                "required_one_of": [("query", "table"), ("equals", "at_least")],
                "mutually_exclusive": [("query", "table")],
            },
            "rto_target": {"type": "float"},
            "rpo_target": {"type": "float"},
            "scratch_directory": {"type": "path", "default": "/var/tmp"},
            "preload_libraries": {"type": "list", "elements": "str", "default": []},
            "owner": {"type": "str"},
            "jobs": {"type": "int", "default": 2},
            "recovery_timeout": {"type": "float", "default": 3600},
        },
        mutually_exclusive=targets.EXCLUSIVE,
        supports_check_mode=True,
    )
    params = module.params
    with runner.reporting(module):
        cluster, repository = settings.specs(params)
        scratch = Path(params["scratch_directory"])
        request = verify_restore.ScratchRequest(
            restore=restore.RestoreRequest(
                repository=repository,
                stanza=cluster.stanza,
                data_directory=scratch,
                agent=Path(params["agent_command"]),
                backup=params["backup"],
                target=targets.target(params),
                bin_directory=cluster.bin_directory,
                jobs=params["jobs"],
                recovery_timeout=params["recovery_timeout"],
                original=cluster.data_directory,
            ),
            scratch_parent=scratch,
            superuser=cluster.connection.user,
            preload_libraries=params["preload_libraries"],
            assertions=[proof.assertion(given) for given in params["assertions"]],
        )
        runner.run(
            module,
            repository,
            verify_restore.THIRD_PARTY,
            lambda: owner_of_new(scratch, params["owner"], cluster.data_directory),
            proof.task(request, params, check_mode=module.check_mode),
            may_mount=True,
        )


if __name__ == "__main__":
    main()
