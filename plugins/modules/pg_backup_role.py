#!/usr/bin/python
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ensure that a database role for backups exists, with what it needs and nothing beyond that."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup_role
short_description: Ensure that a PostgreSQL role for backups exists, with the least privileges
version_added: 0.1.0
description:
  - Makes the role that backups connect as, and grants it exactly what the kinds of backup in O(kinds) need on the
    server's version. What it had been granted for other kinds is taken back.
  - Attributes, memberships in PostgreSQL's own roles, C(EXECUTE) on PostgreSQL's functions, C(CONNECT), and the right
    to read schemas, tables, sequences and large objects are looked after. What else somebody has granted to the role
    is left alone.
  - Connect as a superuser; nobody else can grant what backups need. Setting up archiving with
    M(lifeboat.postgresql.pitr_configure) is a superuser's work too, and no part of any kind here.
  - The server's C(pg_hba.conf) is not changed. It must let the role in, and for V(stream) also into C(replication).
author: Lifeboat contributors (@lifeboat)
extends_documentation_fragment:
  - lifeboat.postgresql.cluster
  - lifeboat.postgresql.connection
  - lifeboat.postgresql.s3
options:
  name:
    description: The role's name, of at most 63 bytes. It can be any; it is quoted where it is used.
    type: str
    required: true
  kinds:
    description:
      - The kinds of backup that the role makes.
      - V(physical) is by the server's files (O(method=files)). The role enters and leaves backup mode, and reads all
        settings. It can read no table.
      - V(stream) is by the replication protocol (O(method=stream)), for backups and for the streaming receiver. The
        role has C(REPLICATION). That shows it all of the server's files, but lets it run no query on a table.
      - V(logical) is for dumps (C(pg_dump)). The role reads everything, whatever row policies say (C(BYPASSRLS)), and
        writes nothing.
      - V(restore_point) is for M(lifeboat.postgresql.pg_restore_point).
    type: list
    elements: str
    choices: [physical, stream, logical, restore_point]
    default: [physical]
  databases:
    description:
      - The databases to dump; all that are no templates unless given. It matters for V(logical) only.
      - Without it the role is a member of C(pg_read_all_data) from PostgreSQL 14 on, which covers what will be made in
        future. It covers the hashes of passwords too.
      - With it, and on PostgreSQL 13, the role is allowed to read each schema, table and sequence of these databases,
        and by default privileges those that their present owners will make. Run the module again when there is a new
        owner or a new database.
      - Large objects are granted one by one. Before PostgreSQL 18 those that are made later take another run.
    type: list
    elements: str
  password:
    description:
      - The role's password. It is hashed before it is sent to the server, and changed only when it is another.
      - Without it the password stays as it is. A new role has none then, and connects by C(peer) or a certificate.
    type: str
  connection_limit:
    description: How many sessions the role may have, V(-1) for any number. Without it the limit stays as it is.
    type: int
  valid_until:
    description:
      - Until when the password is valid, as a time with its zone or V(infinity). Without it that stays as it is.
    type: str
  state:
    description:
      - With V(absent) everything that was granted to the role is taken back in every database, and the role is dropped.
      - A role that owns something is refused, because that would be lost with it.
    type: str
    choices: [absent, present]
    default: present
attributes:
  check_mode:
    support: full
    description: Makes every check and predicts what would change.
  diff_mode:
    support: full
    description: Shows the role's attributes and grants before and after, and of a password only whether there is one.
  idempotent:
    support: full
    description: A second run changes nothing.
notes:
  - Functions are granted in the database that the module connects to (O(login_db)). Backups with V(physical) and
    V(restore_point) must connect to the same, as they do with the same options.
"""

EXAMPLES = r"""
- name: Have a role that makes physical backups and can read no table
  lifeboat.postgresql.pg_backup_role:
    cluster: main
    name: lifeboat
    kinds: [physical]

- name: Have a role that a backup host streams with
  lifeboat.postgresql.pg_backup_role:
    database_url: "{{ superusers_database_url }}"
    name: lifeboat
    password: "{{ lifeboat_login_password }}"
    kinds: [stream]
    connection_limit: 4

- name: Have a role that dumps two databases
  lifeboat.postgresql.pg_backup_role:
    cluster: main
    name: dumper
    kinds: [logical]
    databases: [shop, accounts]

- name: Have no such role any more
  lifeboat.postgresql.pg_backup_role:
    cluster: main
    name: dumper
    state: absent
"""

RETURN = r"""
name:
  description: The role's name.
  returned: success
  type: str
statements:
  description: What was run to make, change or drop the role; in check mode what would be run. Passwords are left out.
  returned: success
  type: list
  elements: str
  sample: ["CREATE ROLE lifeboat NOSUPERUSER LOGIN", "GRANT pg_read_all_settings TO lifeboat"]
privileges:
  description: What the role has when the module has run, one thing each, as in the diff.
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import arguments, runner, settings
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.as_owner import owner_or_self
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.role import backup_role, needs
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.ports import ProgressSink


def main() -> None:
    """Parse, run, exit."""
    module = AnsibleModule(
        argument_spec={
            **arguments.SHARED,
            "name": {"type": "str", "required": True},
            "kinds": {"type": "list", "elements": "str", "choices": list(needs.KINDS), "default": [needs.PHYSICAL]},
            "databases": {"type": "list", "elements": "str"},
            "password": {"type": "str", "no_log": True},
            "connection_limit": {"type": "int"},
            "valid_until": {"type": "str"},
            "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
        },
        supports_check_mode=True,
    )
    params = module.params
    with runner.reporting(module):
        connection, data_directory = settings.connection(params)
        request = backup_role.RoleRequest(
            connection,
            data_directory,
            params["name"],
            params["kinds"],
            params["databases"],
            params["password"],
            params["connection_limit"],
            params["valid_until"],
            absent=params["state"] == "absent",
        )

        def task(sink: ProgressSink) -> dict[str, Any]:
            done = backup_role.run(request, sink, check_mode=module.check_mode)
            before, after = ("".join(f"{line}\n" for line in lines) for lines in (done.before, done.after))
            title = f"role {request.name}"
            return {
                "changed": done.changed,
                "name": request.name,
                "statements": list(done.statements),
                "privileges": list(done.after),
                "diff": {"before_header": title, "after_header": title, "before": before, "after": after},
            }

        runner.run(module, None, backup_role.THIRD_PARTY, lambda: owner_or_self(data_directory), task)


if __name__ == "__main__":
    main()
