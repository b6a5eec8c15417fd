#!/usr/bin/python
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ensure that a repository and its key exist."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup_repository
short_description: Ensure that a repository for PostgreSQL backups and its key exist
version_added: 0.1.0
description:
  - Makes the directory of a repository and the repository in it, and a key file where there is none.
  - Everything in a repository is encrypted. B(Without the key file nothing can be restored), so keep a copy of it
    somewhere else, where it survives the loss of this host.
author: Lifeboat contributors (@lifeboat)
extends_documentation_fragment:
  - lifeboat.postgresql.cluster
  - lifeboat.postgresql.connection
  - lifeboat.postgresql.s3
options:
  create_key:
    description:
      - Whether to make a new random key when O(key_file) does not exist.
      - A key is never replaced, and never made for a repository that exists already.
    type: bool
    default: false
  owner:
    description:
      - The user who shall own the repository and the key file, when the module runs as root.
      - Defaults to the owner of O(data_directory).
    type: str
attributes:
  check_mode:
    support: full
    description: Predicts what would be made.
  diff_mode:
    support: none
    description: A repository is there or not.
  idempotent:
    support: full
    description: A repository that exists is opened and left as it is.
"""

EXAMPLES = r"""
- name: Have a repository
  lifeboat.postgresql.pg_backup_repository:
    repository: /srv/lifeboat
    key_file: /etc/lifeboat/main.key
    create_key: true
    owner: postgres
"""

RETURN = r"""
key_created:
  description: Whether a new key was made. Bring a copy of it to a safe place now.
  returned: success
  type: bool
key_file:
  description: The file with the key.
  returned: success
  type: str
key_id:
  description: The key's fingerprint, which tells keys apart and reveals nothing; empty when it would be made.
  returned: success
  type: str
repository_id:
  description: The repository's own id; empty when it would be made.
  returned: success
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import arguments, runner, settings
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.as_owner import owner_of_new, provided
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs import create_repository
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.ports import ProgressSink


def main() -> None:
    """Parse, run, exit."""
    module = AnsibleModule(
        argument_spec={
            **arguments.SHARED,
            "create_key": {"type": "bool", "default": False, "no_log": False},
            "owner": {"type": "str"},
        },
        supports_check_mode=True,
    )
    params = module.params
    with runner.reporting(module):
        cluster, repository = settings.specs(params)
        directories = create_repository.directories(repository)
        owner = owner_of_new(directories[0], params["owner"], cluster.data_directory)

        def task(sink: ProgressSink) -> dict[str, Any]:
            result = create_repository.run(
                repository, SystemClock(), create_key=params["create_key"], check_mode=module.check_mode
            )
            return {
                "changed": result.changed,
                "key_created": result.key_created,
                "key_file": str(repository.key_file),
                "key_id": result.key_id or "",
                "repository_id": result.repository_id or "",
            }

        with provided([] if module.check_mode else directories, owner):
            runner.run(module, repository, (), lambda: owner, task)


if __name__ == "__main__":
    main()
