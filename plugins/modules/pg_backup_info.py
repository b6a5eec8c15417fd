#!/usr/bin/python
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List backups and archived WAL."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup_info
short_description: List the backups of a PostgreSQL cluster and the points it can be recovered to
version_added: 0.1.0
description:
  - Reads a repository and lists a cluster's backups, its archived WAL, and from where to where each backup can be
    recovered.
  - The server need not run, nor be on this host.
author: Lifeboat contributors (@lifeboat)
extends_documentation_fragment:
  - lifeboat.postgresql.cluster
  - lifeboat.postgresql.connection
  - lifeboat.postgresql.s3
options:
  owner:
    description:
      - The user to read the repository as, when the module runs as root.
      - Defaults to the owner of O(data_directory), else of the repository.
    type: str
attributes:
  check_mode:
    support: full
    description: Nothing is changed.
  diff_mode:
    support: none
    description: Nothing is changed.
  idempotent:
    support: full
    description: Nothing is changed.
"""

EXAMPLES = r"""
- name: What is there
  lifeboat.postgresql.pg_backup_info:
    cluster: main
  register: found

- name: Show the newest backup
  ansible.builtin.debug:
    var: found.backups | last
"""

RETURN = r"""
stanza:
  description: The cluster's name in the repository.
  returned: success
  type: str
repository:
  description: Where the repository is.
  returned: success
  type: str
system_identifier:
  description: The cluster's system identifier; empty when nothing is known of the stanza.
  returned: success
  type: str
major_version:
  description: PostgreSQL's major version; none when nothing is known of the stanza.
  returned: success
  type: int
backups:
  description: All backups, oldest first; as M(lifeboat.postgresql.pg_backup) returns them.
  returned: success
  type: list
  elements: dict
windows:
  description: What each backup can be recovered to.
  returned: success
  type: list
  elements: dict
  contains:
    backup_id:
      description: The backup.
      type: str
    earliest:
      description: The earliest point in time, in UTC.
      type: str
    last_segment:
      description: The newest archived segment on its timeline.
      type: str
    missing_segments:
      description: WAL that is missing; only targets before it can be reached.
      type: list
      elements: str
timelines:
  description:
    - What can be recovered along the way to each timeline, oldest first. The newest is what restores follow unless told
      otherwise; what an older one has after it was left can only be reached by its number.
  returned: success
  type: list
  elements: dict
  contains:
    timeline:
      description: Its number.
      type: int
    parent:
      description: The timeline that it left; none for the first.
      type: int
    begins_at:
      description: The WAL location at which it left its parent.
      type: str
    path:
      description: All timelines on the way to it, the first one first.
      type: list
      elements: int
    backups:
      description: The backups that lie on the way, oldest first.
      type: list
      elements: str
    earliest:
      description: The earliest point in time that can be reached, in UTC; none without a backup.
      type: str
    last_segment:
      description: The newest archived segment on the way.
      type: str
    missing_segments:
      description: WAL that is missing on the way; targets behind it need a backup behind it.
      type: list
      elements: str
wal:
  description: The archived WAL, with C(first) and C(last) segment and how many C(segments) there are.
  returned: success
  type: dict
dropped_wal:
  description: WAL that was given up by the policy C(wal_drop_after), each gap with its files, times and reason.
  returned: success
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import arguments, runner, settings
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.as_owner import owner_of_new
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs import create_repository, info, summary
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.ports import ProgressSink


def main() -> None:
    """Parse, run, exit."""
    module = AnsibleModule(argument_spec={**arguments.SHARED, "owner": {"type": "str"}}, supports_check_mode=True)
    params = module.params
    with runner.reporting(module):
        cluster, repository = settings.specs(params)

        def task(sink: ProgressSink) -> dict[str, Any]:
            return {"changed": False, **summary.info(info.read(repository, cluster.stanza))}

        place = create_repository.directories(repository)[0]
        runner.run(module, repository, (), lambda: owner_of_new(place, params["owner"], cluster.data_directory), task)


if __name__ == "__main__":
    main()
