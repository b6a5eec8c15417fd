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
  - With O(status=true) it also says whether everything is well, from the server, the data directory and all of the
    cluster's repositories, as C(lifeboat status) does. Whatever cannot be reached is a finding then, and no failure of
    the module.
author: Lifeboat contributors (@lifeboat)
extends_documentation_fragment:
  - lifeboat.postgresql.cluster
  - lifeboat.postgresql.connection
  - lifeboat.postgresql.s3
options:
  status:
    description:
      - Whether to judge how the cluster is, see RV(status). The server is connected to for that, and psycopg is needed.
      - What it is judged by is the setting C(thresholds) of the cluster in O(config_file), see
        M(lifeboat.postgresql.lifeboat_agent).
      - The lists of backups, windows and WAL are empty then when the repository cannot be read.
    type: bool
    default: false
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

- name: Fail unless everything is well
  lifeboat.postgresql.pg_backup_info:
    cluster: main
    status: true
  register: found
  failed_when: found.failed or found.status.level > 0

- name: Show the newest backup
  ansible.builtin.debug:
    var: found.backups | last
"""

RETURN = r"""
status:
  description: How the cluster is.
  returned: when O(status=true)
  type: dict
  contains:
    level:
      description: The worst finding's, 0 without any, 1 for a warning, 2 for critical.
      type: int
    state:
      description: The same as a word, V(ok), V(warning) or V(critical).
      type: str
    findings:
      description: What is not as it should be, the worst first.
      type: list
      elements: dict
      contains:
        level:
          description: 1 for a warning, 2 for critical.
          type: int
        state:
          description: The same as a word.
          type: str
        code:
          description: Which finding it is; it never changes between releases.
          type: str
          sample: archiving_lags
        what:
          description: What is the matter.
          type: str
        todo:
          description: What to do.
          type: str
    server:
      description:
        - Whether the server is C(running) and C(reachable), or else the C(error); its C(major_version), and whether
          it is C(in_recovery).
      type: dict
    archive:
      description: How the server's own archiving goes.
      type: dict
      contains:
        wal_method:
          description: How WAL leaves the server, V(archive), V(stream) or V(both).
          type: str
        lag_segments:
          description:
            - How many files wait to be archived. Where the data directory cannot be read, how many segments the
              archive is behind the one that is being written. None when that is not known.
          type: int
        lag_seconds:
          description: For how long the oldest of them has waited; none when that is not known.
          type: float
        last_archived:
          description: The file that was archived last.
          type: str
        last_archived_age:
          description: How many seconds ago that was.
          type: float
        failing:
          description: Whether the newest attempt failed.
          type: bool
        last_failed:
          description: The file of the last attempt that failed.
          type: str
        last_failed_age:
          description: How many seconds ago that was.
          type: float
        last_failure:
          description: Why, in Lifeboat's words.
          type: str
        server_log:
          description: What the server's log says about it.
          type: list
          elements: str
        background_alive:
          description: Whether the background process is at work; it ends when nothing has to be archived for long.
          type: bool
        owed:
          description: How many files each optional repository has not got yet.
          type: dict
    slot:
      description:
        - The replication slot of a receiver, empty where none is wanted. Its C(name), whether it C(exists) and is
          C(received) from, C(wal_status) as the server has it, how much WAL it keeps (C(lag_bytes)), at most
          (C(limit_bytes), C(max_slot_wal_keep_size)), and how much may be written before it is in danger
          (C(left_bytes)).
      type: dict
    receiver:
      description:
        - What the receiver says of itself when its spool is on this host, else empty. Whether it is C(alive), its
          C(state) and C(troubles), how many segments are C(waiting) in the spool only, and the C(gaps) that it met.
      type: dict
    repositories:
      description:
        - Each repository's C(name), C(url), whether it is C(required), the C(error) when it cannot be read, the
          number of C(backups), the C(newest) of the present incarnation with its C(backup_id), C(age) in seconds and
          the WAL that is missing behind it, the C(earliest) moment that can be recovered to, its newest WAL
          (C(last_segment)) and recorded C(gaps).
      type: list
      elements: dict
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
  description: All physical backups, oldest first; as M(lifeboat.postgresql.pg_backup) returns them.
  returned: success
  type: list
  elements: dict
logical_backups:
  description: All logical backups, oldest first; as M(lifeboat.postgresql.pg_backup) returns them.
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
      description: The newest archived segment on its timeline; up to its end all is in finished WAL.
      type: str
    partial_until:
      description:
        - The WAL location that what a receiver has shipped of the next, unfinished segment reaches. A restore to the
          latest point replays it, too; a standby does not.
        - None where nothing was shipped of it, or it cannot be used.
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
      description: The newest archived segment on the way; up to its end all is in finished WAL.
      type: str
    partial_until:
      description: As for RV(windows); only ever at the end of a timeline that nobody has left there.
      type: str
    missing_segments:
      description: WAL that is missing on the way; targets behind it need a backup behind it.
      type: list
      elements: str
incarnations:
  description:
    - The lives of the cluster, oldest first. C(pg_upgrade) begins a new one, and so does a clone that claims one. Each
      has WAL and backups of its own.
  returned: success
  type: list
  elements: dict
  contains:
    number:
      description: Its place among them, from 1.
      type: int
    incarnation:
      description: Its id.
      type: str
    system_identifier:
      description: The cluster's system identifier in it.
      type: str
    major_version:
      description: PostgreSQL's major version, whose programs a restore from it needs.
      type: int
    began:
      description: When it was claimed, in UTC.
      type: str
    is_present:
      description: Whether it is the newest one, which RV(system_identifier), RV(timelines) and RV(wal) are about.
      type: bool
    backups:
      description: Its backups, oldest first.
      type: list
      elements: str
    earliest:
      description: The earliest point in time in it that can be recovered to, in UTC; none without a backup.
      type: str
    last_segment:
      description: Its newest archived segment.
      type: str
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
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs import summary
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.repository import (
    create as create_repository,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.status import gather as status
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.status import info
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.status import summary as status_summary
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.ports import ProgressSink


def main() -> None:
    """Parse, run, exit."""
    module = AnsibleModule(
        argument_spec={**arguments.SHARED, "status": {"type": "bool", "default": False}, "owner": {"type": "str"}},
        supports_check_mode=True,
    )
    params = module.params
    with runner.reporting(module):
        cluster, repository = settings.specs(params)
        archive = settings.archive_spec(params, cluster, repository)

        def task(sink: ProgressSink) -> dict[str, Any]:
            if not params["status"]:
                return {"changed": False, **summary.info(info.read(repository, cluster.stanza))}
            judged = status_summary.values(status.gather(cluster, archive, SystemClock()))
            try:
                found = info.read(repository, cluster.stanza)
            except LifeboatError:  # among the findings
                found = info.Info(cluster.stanza, repository.url, None, None)
            return {"changed": False, **summary.info(found), "status": judged}

        place = create_repository.directories(repository)[0]
        packages = status.THIRD_PARTY if params["status"] else ()
        for copy in archive.copies if params["status"] else ():
            runner.ensure_packages(module, copy.repository, packages)
        owner = params["owner"]
        runner.run(module, repository, packages, lambda: owner_of_new(place, owner, cluster.data_directory), task)


if __name__ == "__main__":
    main()
