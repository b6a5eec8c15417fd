#!/usr/bin/python
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ensure that a backup of a PostgreSQL cluster or its databases exists."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup
short_description: Ensure that a backup of a PostgreSQL cluster or its databases exists
version_added: 0.1.0
description:
  - Takes a physical backup of a running cluster, compressed and encrypted, into its repository.
  - The backup becomes visible only when everything it needs, its WAL included, is durable in the repository.
  - With O(max_age) it ensures that a young enough backup exists, and changes nothing when one does.
  - Page checksums are verified while reading.
  - The backup can be taken from a standby; it goes under the stanza of its primary.
  - With O(method=stream) the server sends its files by the replication protocol, so that it can be taken from anywhere.
    Configuration that is kept outside the data directory, as Debian does, is out of its reach and not included.
author: Lifeboat contributors (@lifeboat)
extends_documentation_fragment:
  - lifeboat.postgresql.cluster
  - lifeboat.postgresql.connection
  - lifeboat.postgresql.s3
options:
  kind:
    description:
      - What is backed up. V(physical) is the whole cluster, from whose backup and WAL any moment can be recovered.
      - V(logical) are dumps of databases, made by C(pg_dump), each of one moment. They can be restored to other
        versions and machines, as a whole or in part. C(pg_dump) of the server's version must be on this host (package
        C(postgresql-client)); the server may be anywhere, and needs no archiving.
    type: str
    choices: [physical, logical]
    default: physical
  databases:
    description:
      - With O(kind=logical), the databases to dump; without it all but templates.
      - There is no snapshot of several databases. Each is dumped as of a moment of its own, which is in the result.
    type: list
    elements: str
    default: []
  dump_format:
    description:
      - With O(kind=logical), C(pg_dump)'s format. Of V(custom) parts can be restored, in parallel; V(plain) is SQL for
        people.
    type: str
    choices: [custom, plain]
    default: custom
  tables:
    description:
      - With O(kind=logical), dump only these tables, by C(pg_dump)'s patterns, such as V(public.orders) or
        V(sales.*). A name with capitals, spaces or dots is in double quotes. What matches nothing is an error.
    type: list
    elements: str
    default: []
  exclude_tables:
    description: With O(kind=logical), leave these tables out.
    type: list
    elements: str
    default: []
  exclude_table_data:
    description: With O(kind=logical), dump these tables without their rows.
    type: list
    elements: str
    default: []
  schemas:
    description: With O(kind=logical), dump only these schemas.
    type: list
    elements: str
    default: []
  exclude_schemas:
    description: With O(kind=logical), leave these schemas out.
    type: list
    elements: str
    default: []
  content:
    description: With O(kind=logical), whether to dump definitions, rows, or both.
    type: str
    choices: [all, schema, data]
    default: all
  large_objects:
    description:
      - With O(kind=logical), whether large objects are dumped. By default they are unless tables or schemas are chosen.
    type: bool
  globals:
    description:
      - With O(kind=logical), whether roles and tablespaces are dumped as well. The roles' passwords are only seen by a
        superuser; for others they are left out, with a warning.
    type: bool
    default: true
  dump_compression:
    description:
      - With O(kind=logical), how dumps are compressed. V(zstd) is done by the repository, smaller and faster.
      - V(gzip) and V(lz4) are done by C(pg_dump) inside its format; the latter needs PostgreSQL 16 or newer.
    type: str
    choices: [zstd, gzip, lz4, none]
    default: zstd
  type:
    description:
      - How it is backed up. V(full) reads and stores everything and begins a new generation, which refers to nothing
        older.
      - V(incremental) stores only the pages that have changed since the last backup. Restoring it reads every page
        once, however many incremental backups there are. Files that have changed since then are read whole, or where
        the server summarizes WAL (C(summarize_wal), PostgreSQL 17 and newer) only their pages that WAL has changed.
      - V(auto) is incremental until the generation is older than O(full_every).
    type: str
    choices: [auto, full, incremental]
    default: auto
  full_every:
    description: After how many days V(type=auto) begins a new generation with a full backup.
    type: float
    default: 30
  max_age:
    description: Do nothing when a backup is at most this many hours old.
    type: float
  jobs:
    description: How many workers read, compress and encrypt.
    type: int
    default: 2
  compression_level:
    description:
      - The zstd level, from 1 (fast) to 19 (small); with O(dump_compression) that of the method.
      - The default of physical backups is 3, tuned to PostgreSQL's pages, which it makes both smaller and faster than
        zstd's own level. Of dumps it depends on the size of the database, from 19 for the smallest to 1.
    type: int
  fast_checkpoint:
    description: Whether to begin at once, at the price of a burst of writes, or to wait for the next checkpoint.
    type: bool
    default: true
  archive_wait:
    description:
      - How many seconds to wait for the backup's WAL to arrive in the repository. Defaults to 60, on a standby to 300.
      - A standby cannot end the last segment that its backup needs; its primary does when the segment is full or after
        its C(archive_timeout).
    type: float
  damaged_pages:
    description:
      - What to do when pages with wrong checksums are found that no running change explains.
      - V(warn) makes the backup, warns, and names the pages in the result. V(fail) makes none.
    type: str
    choices: [fail, warn]
    default: warn
  max_rate:
    description: Read at most this many megabytes a second.
    type: float
  low_priority:
    description: Whether to leave processor and disk to others.
    type: bool
    default: false
  backup_class:
    description:
      - What the backup is made for. M(lifeboat.postgresql.pg_backup_expire) can keep backups of one class longer than
        those of another.
    type: str
    choices: [manual, scheduled, pre_migration, pre_restore]
    default: manual
  annotations:
    description: Texts to keep with the backup, by name.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Makes every check, and predicts whether a backup would be made.
  diff_mode:
    support: none
    description: A backup has no state before it to compare with.
  idempotent:
    support: partial
    description: With O(max_age) a second run within that time changes nothing. Without it every run makes a backup.
"""

EXAMPLES = r"""
- name: Back up now
  lifeboat.postgresql.pg_backup:
    data_directory: /var/lib/postgresql/15/main
    repository: /srv/lifeboat
    key_file: /etc/lifeboat/main.key
    stanza: db1-main

- name: Have a backup that is at most a day old
  lifeboat.postgresql.pg_backup:
    cluster: main
    max_age: 24
    annotations:
      reason: nightly

- name: Dump two databases of a server somewhere, with the roles that they need
  lifeboat.postgresql.pg_backup:
    kind: logical
    databases: [shop, accounts]
    exclude_table_data: [public.sessions]
    stanza: shop
    repository: /srv/lifeboat
    key_file: /etc/lifeboat/main.key
    login_host: db.example.com
    login_user: lifeboat
    login_password: "{{ lifeboat_password }}"

- name: Back up a server whose files cannot be reached
  lifeboat.postgresql.pg_backup:
    stanza: shop
    repository: /srv/lifeboat
    key_file: /etc/lifeboat/main.key
    method: stream
    login_host: db.example.com
    login_user: lifeboat
    login_password: "{{ lifeboat_password }}"
"""

RETURN = r"""
backup:
  description: >-
    The backup that was made, or the young enough one that was found. Empty in check mode when one would be made.
  returned: success
  type: dict
  contains:
    id:
      description: Its name; names sort by time.
      type: str
      sample: 20261121T014644Z-full-b0c0f1
    kind:
      description: V(physical) or V(logical).
      type: str
    type:
      description: V(full) or V(incremental).
      type: str
    members:
      description: >-
        With O(kind=logical), what it holds. Each has a C(kind) (V(database) or V(globals)), a C(name), a C(format), the
        moment whose state it shows (C(as_of)), the size on the server (C(server_bytes)) and what was chosen of it
        (C(options)). What follows with LSNs, timelines or pages is of physical backups.
      type: list
      elements: dict
    method:
      description: How the files were got at, V(files) or V(stream).
      type: str
    stanza:
      description: The cluster's name in the repository.
      type: str
    started:
      description: When it began, in UTC.
      type: str
    finished:
      description: When it was whole, in UTC.
      type: str
    recoverable_from:
      description: The earliest point in time that can be recovered from it, in UTC.
      type: str
    server_version:
      description: The server's version as a number.
      type: int
    major_version:
      description: Its major version, whose programs a restore needs.
      type: int
    incarnation:
      description: The life of the cluster that it belongs to, see M(lifeboat.postgresql.pg_backup_info).
      type: str
    system_identifier:
      description: The cluster's system identifier.
      type: str
    timeline:
      description: The timeline it was taken on.
      type: int
    start_lsn:
      description: Where the WAL that it needs begins.
      type: str
    stop_lsn:
      description: Where the WAL that makes it consistent ends.
      type: str
    files:
      description: How many files it has.
      type: int
    bytes:
      description: How large the files are.
      type: int
    stored_bytes:
      description: How much was stored for it.
      type: int
    damaged_pages:
      description: How many damaged pages were found.
      type: int
    data_checksums:
      description: Whether the cluster's pages carry checksums.
      type: bool
    parent:
      description: The backup an incremental one was compared with; empty for a full one.
      type: str
    generation:
      description: The full backup that its generation began with.
      type: str
    class:
      description: What it was made for.
      type: str
    annotations:
      description: The texts kept with it.
      type: dict
type:
  description: What was made, or would be, or was found; V(full) or V(incremental).
  returned: success
  type: str
databases:
  description: The databases that were dumped, or would be.
  returned: success, with O(kind=logical)
  type: list
  elements: str
damaged_pages:
  description: Where damaged pages were found.
  returned: success, with O(kind=physical)
  type: list
  elements: str
"""

from datetime import timedelta
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import arguments, dumping, runner, settings
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.as_owner import (
    owner_for_cluster,
    owner_of_dumps,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs import summary
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.backup import logical
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.backup import physical as backup
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.ports import ProgressSink
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.retention_policy import CLASSES, DEFAULT_CLASS


def main() -> None:
    """Parse, run, exit."""
    module = AnsibleModule(
        argument_spec={
            **arguments.SHARED,
            "kind": {"type": "str", "choices": ["physical", "logical"], "default": "physical"},
            **dumping.BACKUP_OPTIONS,
            "type": {"type": "str", "choices": ["auto", "full", "incremental"], "default": "auto"},
            "full_every": {"type": "float", "default": 30},
            "max_age": {"type": "float"},
            "jobs": {"type": "int", "default": 2},
            "compression_level": {"type": "int"},
            "fast_checkpoint": {"type": "bool", "default": True},
            "archive_wait": {"type": "float"},
            "damaged_pages": {"type": "str", "choices": ["fail", "warn"], "default": "warn"},
            "max_rate": {"type": "float"},
            "low_priority": {"type": "bool", "default": False},
            "backup_class": {"type": "str", "choices": list(CLASSES), "default": DEFAULT_CLASS},
            "annotations": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    params = module.params
    with runner.reporting(module):
        cluster, repository = settings.specs(params)
        if params["kind"] == "logical":
            task = dumping.backup_task(module, cluster, repository)
            runner.run(module, repository, logical.THIRD_PARTY, lambda: owner_of_dumps(cluster, repository), task)
        dumping.refuse_others(module, dumping.OF_LOGICAL_BACKUPS, "physical")
        request = backup.BackupRequest(
            cluster,
            repository,
            backup_type=params["type"],
            full_every=timedelta(days=params["full_every"]),
            max_age=None if params["max_age"] is None else timedelta(hours=params["max_age"]),
            jobs=params["jobs"],
            compression_level=params["compression_level"] or backup.BackupRequest.compression_level,
            fast_checkpoint=params["fast_checkpoint"],
            archive_wait=params["archive_wait"],
            fail_on_damaged_pages=params["damaged_pages"] == "fail",
            max_rate=runner.bytes_per_second(params["max_rate"]),
            low_priority=params["low_priority"],
            backup_class=params["backup_class"],
            annotations={str(name): str(text) for name, text in params["annotations"].items()},
        )

        def physical_task(sink: ProgressSink) -> dict[str, Any]:
            result = backup.run(request, SystemClock(), sink, check_mode=module.check_mode)
            return {
                "changed": result.changed,
                "type": result.backup_type,
                "backup": summary.backup(result.backup) if result.backup else {},
                "damaged_pages": result.damaged_pages,
            }

        needed = (*backup.THIRD_PARTY, *backup.IMPORTED_LATER)
        runner.run(module, repository, needed, lambda: owner_for_cluster(cluster, repository), physical_task)


if __name__ == "__main__":
    main()
