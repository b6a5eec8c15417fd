#!/usr/bin/python
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a named point to recover to."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_restore_point
short_description: Make a named point in a PostgreSQL cluster's WAL to recover to
version_added: 0.1.0
description:
  - Writes a restore point, ends the WAL segment it is in, and waits until that is in the repository. Then
    M(lifeboat.postgresql.pg_restore) can bring the cluster back to it, by C(target_name).
  - Use it right before a migration, after a backup.
author: Lifeboat contributors (@lifeboat)
extends_documentation_fragment:
  - lifeboat.postgresql.cluster
  - lifeboat.postgresql.connection
  - lifeboat.postgresql.s3
options:
  name:
    description:
      - Its name, of at most 63 bytes. Make it unique, for example with the number of a migration.
      - A name that is used again is another point. A recovery stops at the first of them behind its backup.
    type: str
    required: true
  archive_wait:
    description: How many seconds to wait until the point is in the repository.
    type: float
    default: 120
attributes:
  check_mode:
    support: full
    description: Makes every check and writes nothing.
  diff_mode:
    support: none
    description: WAL has no state before and after.
  idempotent:
    support: none
    description: Every run makes another point, and always reports a change.
"""

EXAMPLES = r"""
- name: Have a point to come back to
  lifeboat.postgresql.pg_restore_point:
    cluster: main
    name: before-migration-42
"""

RETURN = r"""
name:
  description: Its name.
  returned: success
  type: str
lsn:
  description: The WAL location behind it; empty in check mode.
  returned: success
  type: str
  sample: 0/16B3748
timeline:
  description: The timeline that it is on; none in check mode.
  returned: success
  type: int
time:
  description: When it was made, in UTC; empty in check mode.
  returned: success
  type: str
segment:
  description: The WAL segment with it, which is in the repository; empty in check mode.
  returned: success
  type: str
  sample: "000000010000000000000005"
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import arguments, runner, settings
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.as_owner import owner_for_cluster
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs import summary
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore import restore_point
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.ports import ProgressSink


def main() -> None:
    """Parse, run, exit."""
    module = AnsibleModule(
        argument_spec={
            **arguments.SHARED,
            "name": {"type": "str", "required": True},
            "archive_wait": {"type": "float", "default": 120},
        },
        supports_check_mode=True,
    )
    params = module.params
    with runner.reporting(module):
        cluster, repository = settings.specs(params)
        request = restore_point.PointRequest(cluster, repository, params["name"], params["archive_wait"])

        def task(sink: ProgressSink) -> dict[str, Any]:
            made = restore_point.run(request, SystemClock(), sink, check_mode=module.check_mode)
            return {"changed": True, **summary.point(made)}

        runner.run(module, repository, restore_point.THIRD_PARTY, lambda: owner_for_cluster(cluster, repository), task)


if __name__ == "__main__":
    main()
