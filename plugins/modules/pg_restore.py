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
  - While it recovers, and until its next start, the cluster writes its messages to C(lifeboat-recovery.log) in its data
    directory.
  - A cluster of this host that has made tablespaces since the backup is protected from their making being replayed.
    Such a restore is refused unless it is in place.
  - The restored cluster has C(archive_mode) off, so that it cannot write into the archive of the cluster it came from.
  - It has C(summarize_wal) off too (PostgreSQL 17 and newer), because a recovery does not end before all its WAL is
    summarized. M(lifeboat.postgresql.pitr_configure) sets both again.
author: Lifeboat contributors (@lifeboat)
extends_documentation_fragment:
  - lifeboat.postgresql.cluster
  - lifeboat.postgresql.connection
  - lifeboat.postgresql.s3
  - lifeboat.postgresql.target
  - lifeboat.postgresql.database_restore
options:
  kind:
    description:
      - What is restored. V(physical) makes a cluster at any moment of its archived WAL.
      - V(logical) brings one database of a dump back, into the server that the connection options lead to. O(database)
        and the options behind it belong to it, and those of targets, directories and ports do not.
    type: str
    choices: [physical, logical]
    default: physical
  destination:
    description:
      - The new cluster's data directory. It must be empty or not exist, unless O(delta) is set.
      - Its parent directory must be writable by the O(owner).
      - Required with O(kind=physical).
    type: path
  owner:
    description:
      - The user who shall own the restored cluster, when the module runs as root.
      - Defaults to the owner of O(data_directory), else of the directory in which O(destination) is made.
    type: str
  backup:
    description: The backup's id, or V(latest) for the newest one that can reach the target.
    type: str
    default: latest
  target_action:
    description:
      - What the server does when it has reached the target. V(promote) opens it for writing.
      - V(pause) keeps it as it is there, for queries only, until C(SELECT pg_wal_replay_resume()) promotes it.
      - V(shutdown) stops it; started again, it recovers anew unless its recovery settings are changed.
    type: str
    choices: [promote, pause, shutdown]
    default: promote
  port:
    description: The new cluster's port. Without it the port in its restored configuration.
    type: int
  socket_directory:
    description: The directory of the new cluster's Unix socket. Without it the one in its restored configuration.
    type: path
  files:
    description:
      - Bring back only these files of the backup, into O(destination) under the same relative paths. No cluster is
        made.
      - Paths are relative to the data directory, such as V(postgresql.conf) or V(base/16384/2619). A directory means
        all that is below it; C(*), C(?) and C([...]) stand for parts of one name, C(**) crosses directories.
      - Tablespaces are below C(pg_tblspc), by their oid. Configuration outside the data directory has its path
        relative to where C(postgresql.conf) is.
      - O(destination) may hold other things. A file in it with the very same content stays; one with another content is
        never overwritten.
    type: list
    elements: str
  delta:
    description:
      - Bring the cluster that is in O(destination) back in place, writing only what differs.
      - It must be the very cluster that the backup is of, and it must not run. Its tablespaces stay where they are,
        and its WAL that was never archived is archived now or set aside beside it.
      - B(Everything else in the directory is replaced.)
    type: bool
    default: false
  keep_old:
    description:
      - Restore in the place of what is in O(destination), and keep that, with C(.before-) and the time behind its name.
      - It must be the cluster that the backup is of, or too damaged to tell, and it must not run. Its finished WAL that
        was never archived is archived first. Tablespaces stay with the old directory, so each needs a new place in
        O(tablespace_mapping).
    type: bool
    default: false
  standby:
    description:
      - Make a standby of the original that follows it on and on, instead of a cluster of its own.
      - It comes up to date from the archive, then streams from the primary.
    type: bool
    default: false
  primary_conninfo:
    description:
      - With O(standby), how to reach the primary, as libpq's connection string. By default the server that the
        connection options lead to.
      - It is written into the new cluster's configuration. Keep a password in the owner's C(.pgpass) instead.
    type: str
  primary_slot_name:
    description: With O(standby), the replication slot on the primary. It must exist.
    type: str
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
    description:
      - How many workers fetch and write; 2 by default.
      - With O(kind=logical), how many tables and indexes are restored at once; 1 by default. With more the dump lies in
        the temporary directory (E(TMPDIR)) meanwhile.
    type: int
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
    support: partial
    description:
      - With O(files) a second run changes nothing.
      - Otherwise it finds the destination not empty and fails without touching it.
"""

EXAMPLES = r"""
- name: Bring back the moment before the accident, beside production
  lifeboat.postgresql.pg_restore:
    cluster: main
    destination: /var/lib/postgresql/15/rescued
    port: 5433
    target_time: "2026-11-21T14:29:59+01:00"

- name: Bring the cluster itself back to where it was before the migration, and keep what it has become
  lifeboat.postgresql.pg_restore:
    cluster: main
    destination: /var/lib/postgresql/15/main
    keep_old: true
    target_name: before-migration-42

- name: Look at the moment first, for queries only
  lifeboat.postgresql.pg_restore:
    cluster: main
    destination: /var/lib/postgresql/15/rescued
    port: 5433
    target_time: 2 hours ago
    target_action: pause

- name: Make a standby out of the repository
  lifeboat.postgresql.pg_restore:
    cluster: main
    destination: /var/lib/postgresql/15/standby
    port: 5433
    standby: true
    login_host: db1.example.com
    login_user: replicator

- name: Restore everything that was archived
  lifeboat.postgresql.pg_restore:
    repository: /srv/lifeboat
    key_file: /etc/lifeboat/main.key
    stanza: db1-main
    destination: /var/lib/postgresql/15/main

- name: Bring a database back beside itself, and look at it
  lifeboat.postgresql.pg_restore:
    kind: logical
    cluster: main
    database: shop
    target_database: shop_yesterday

- name: Put yesterday's dump in the place of a database, and keep what it has become
  lifeboat.postgresql.pg_restore:
    kind: logical
    cluster: main
    database: shop
    if_exists: replace
    missing_roles: create

- name: Bring a dump back that a script has left
  lifeboat.postgresql.pg_restore:
    kind: logical
    file: /var/backups/shop_20261101.sql.gz.gpg
    file_passphrase: "{{ dump_passphrase }}"
    target_database: shop_of_november
    login_user: postgres

- name: See what the configuration was a week ago
  lifeboat.postgresql.pg_restore:
    cluster: main
    backup: 20261114T020000Z-full-3f9a1c
    files:
      - postgresql.conf
      - conf.d
      - pg_hba.conf
    destination: /var/tmp/last-week
"""

RETURN = r"""
backup:
  description: The backup that was restored, or would be; as M(lifeboat.postgresql.pg_backup) returns it.
  returned: success
  type: dict
database:
  description: The database of the backup that was restored, or would be.
  returned: success, with O(kind=logical)
  type: str
file:
  description: What O(file) is, by its content.
  returned: success, with O(file)
  type: dict
  contains:
    kind:
      description: V(sql), V(archive), V(archive_tar) or V(archive_directory).
      type: str
    layers:
      description: What it is compressed and encrypted with, outermost first.
      type: list
      elements: str
    server_version:
      description: The version of the server that was dumped, where the file says it.
      type: str
    database:
      description: The database that was dumped, where the file says it.
      type: str
target_database:
  description: The database that it was restored into.
  returned: success, with O(kind=logical)
  type: str
as_of:
  description: The moment whose state it shows, in UTC.
  returned: success, with O(kind=logical)
  type: str
created_roles:
  description: Roles that the server did not have.
  returned: success, with O(kind=logical)
  type: list
  elements: str
destination:
  description: The restored data directory.
  returned: success, with O(kind=physical)
  type: str
running:
  description: Whether the cluster runs.
  returned: success, without O(files)
  type: bool
state:
  description:
    - V(open) for writing, V(paused) at the target, V(stopped) at the target, V(standby), or V(not started).
  returned: success, without O(files)
  type: str
timeline:
  description: The timeline along which it was recovered. Opened for writing, the cluster has begun a new one.
  returned: success, without O(files)
  type: int
stopped_at:
  description: Where the recovery stopped, in the server's words; empty when it ran to the end of the archived WAL.
  returned: success, without O(files)
  type: str
kept_old:
  description: >-
    Where what was in O(destination) is kept, or the name of a replaced database; empty when nothing was there.
  returned: success, without O(files)
  type: str
restored_files:
  description: The files that were written, or would be; relative to O(destination).
  returned: success, with O(files)
  type: list
  elements: str
unchanged_files:
  description: The files that were there already with the same content.
  returned: success, with O(files)
  type: list
  elements: str
last_commit:
  description: When the last replayed transaction was committed, as the server logged it; empty when none was replayed.
  returned: success, without O(files)
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
  returned: success, without O(files)
  type: list
  elements: str
salvaged_wal:
  description: WAL of the old cluster that was never archived, and was archived now or set aside.
  returned: success, without O(files)
  type: list
  elements: str
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import (
    arguments,
    dumping,
    restoring,
    runner,
    settings,
    targets,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.as_owner import (
    owner_of_dumps,
    owner_of_new,
    owner_or_self,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore import files as restore_files
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore import from_file, logical
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore import physical as restore


def main() -> None:
    """Parse, run, exit."""
    module = AnsibleModule(
        argument_spec={
            **arguments.SHARED,
            "kind": {"type": "str", "choices": ["physical", "logical"], "default": "physical"},
            **dumping.RESTORE_OPTIONS,
            "destination": {"type": "path"},
            "owner": {"type": "str"},
            "backup": {"type": "str", "default": "latest"},
            "files": {"type": "list", "elements": "str"},
            **targets.TARGET,
            "target_action": {"type": "str", "choices": ["promote", "pause", "shutdown"], "default": "promote"},
            "port": {"type": "int"},
            "socket_directory": {"type": "path"},
            "tablespace_mapping": {"type": "dict", "default": {}},
            "delta": {"type": "bool", "default": False},
            "keep_old": {"type": "bool", "default": False},
            "standby": {"type": "bool", "default": False},
            "primary_conninfo": {"type": "str"},
            "primary_slot_name": {"type": "str"},
            "start": {"type": "bool", "default": True},
            "max_rate": {"type": "float"},
            "low_priority": {"type": "bool", "default": False},
            "jobs": {"type": "int"},
            "recovery_timeout": {"type": "float", "default": 3600},
        },
        mutually_exclusive=[
            *targets.EXCLUSIVE,
            *(("files", name) for name in (*targets.EXCLUSIVE[0], "port", "socket_directory", "primary_conninfo")),
        ],
        required_if=[("kind", "physical", ["destination"])],
        supports_check_mode=True,
    )
    params = module.params
    with runner.reporting(module):
        if params["kind"] == "logical" and params["file"]:
            task, data_directory = dumping.file_task(module)
            runner.run(module, None, from_file.THIRD_PARTY, lambda: owner_or_self(data_directory), task)
        cluster, repository = settings.specs(params)
        if params["kind"] == "logical":
            task = dumping.restore_task(module, cluster, repository)
            runner.run(module, repository, logical.THIRD_PARTY, lambda: owner_of_dumps(cluster, repository), task)
        dumping.refuse_others(module, dumping.OF_LOGICAL_RESTORES, "physical")
        if params["files"]:
            packages, task = restore_files.THIRD_PARTY, restoring.files_task(module, cluster, repository)
        else:
            packages, task = restore.THIRD_PARTY, restoring.cluster_task(module, cluster, repository)
        destination = restoring.destination(params)
        runner.run(
            module,
            repository,
            packages,
            lambda: owner_of_new(destination, params["owner"], cluster.data_directory),
            task,
        )


if __name__ == "__main__":
    main()
