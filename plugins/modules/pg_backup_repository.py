#!/usr/bin/python
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ensure that a repository and its key exist."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_backup_repository
short_description: Ensure that a repository for PostgreSQL backups exists, and who can open it
version_added: 0.1.0
description:
  - Makes the directory of a repository and the repository in it, and a key file where there is none.
  - Everything in a repository is encrypted. B(Without its key nothing can be restored), so keep a copy of it, or the
    key of another recipient, somewhere else, where it survives the loss of this host.
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
      - The same goes for O(recipients[].key_file) of a recipient who is there already.
    type: bool
    default: false
  recipients:
    description:
      - Who else can open the repository, or shall no longer be able to.
      - Every recipient has a key of its own, and each alone opens the repository. Those that are not named here stay.
      - The first one is called V(primary); the repository was made with its key.
      - Adding or removing one takes a key with full access, and seals nothing again that is stored already.
        So whoever kept a copy of the key documents from before the removal can still read what is stored.
    type: list
    elements: dict
    default: []
    suboptions:
      label:
        description: The recipient's name.
        type: str
        required: true
      state:
        description:
          - Whether it can open the repository.
          - The recipient whose key the module itself uses is never removed, and so the last one is not either.
        type: str
        choices: [absent, present]
        default: present
      key_file:
        description:
          - The file with its key. It is made when it does not exist, the recipient is new and O(create_key) allows it;
            then move it to a safe place.
          - It is needed only for a new recipient. One that is there stays when the file is gone.
          - Its directory must exist and be writable by the owner of the repository.
        type: path
      passphrase_file:
        description: The file whose first line is its passphrase, of at least 12 characters.
        type: path
      passphrase:
        description: Its passphrase, of at least 12 characters.
        type: str
      access:
        description:
          - With V(full) it can read and write everything.
          - With V(metadata) it can list backups and archived WAL, and see names, sizes and times. It can neither read
            what is in files, nor back up or archive.
        type: str
        choices: [full, metadata]
        default: full
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
    support: full
    description: Shows the recipients before and after.
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

- name: Have a second key for the day when this host is lost
  lifeboat.postgresql.pg_backup_repository:
    repository: /srv/lifeboat
    key_file: /etc/lifeboat/main.key
    create_key: true
    owner: postgres
    recipients:
      - label: recovery
        key_file: /etc/lifeboat/recovery.key
      - label: director
        passphrase: "{{ lifeboat_recovery_passphrase }}"

- name: Bring it to the controller, from where it goes offline
  ansible.builtin.fetch:
    src: /etc/lifeboat/recovery.key
    dest: "{{ playbook_dir }}/recovery-{{ inventory_hostname }}.key"
    flat: true

- name: Leave no copy on the host
  ansible.builtin.file:
    path: /etc/lifeboat/recovery.key
    state: absent
"""

RETURN = r"""
key_created:
  description: Whether a new key was made. Bring a copy of it to a safe place now.
  returned: success
  type: bool
key_file:
  description: The file with the key; empty when the repository is opened in another way.
  returned: success
  type: str
key_id:
  description:
    - The fingerprint of the key that the repository was opened with.
    - It tells keys apart and reveals nothing. It is empty when the key would be made.
  returned: success
  type: str
recipients:
  description: Everyone who can open the repository.
  returned: success
  type: list
  elements: dict
  contains:
    label:
      description: The recipient's name.
      type: str
    provider:
      description: Where its key came from when it was added.
      type: str
      choices: [command, file, passphrase]
    access:
      description: What it can do.
      type: str
      choices: [full, metadata]
    key_id:
      description: Its key's fingerprint; empty when it would be added.
      type: str
recipient_key_files:
  description: Key files that were made for recipients. Move them to a safe place now.
  returned: success
  type: list
  elements: str
repository_id:
  description: The repository's own id; empty when it would be made.
  returned: success
  type: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import (
    arguments,
    recipients,
    runner,
    settings,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.as_owner import owner_of_new, provided
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.repository import (
    create as create_repository,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.ports import ProgressSink


def main() -> None:
    """Parse, run, exit."""
    module = AnsibleModule(
        argument_spec={
            **arguments.SHARED,
            "create_key": {"type": "bool", "default": False, "no_log": False},
            "recipients": recipients.OPTION,
            "owner": {"type": "str"},
        },
        supports_check_mode=True,
    )
    params = module.params
    with runner.reporting(module):
        cluster, repository = settings.specs(params)
        directories = create_repository.directories(repository)
        owner = owner_of_new([*directories, Path("/")][0], params["owner"], cluster.data_directory)
        wanted = recipients.wanted(params["recipients"])

        def task(sink: ProgressSink) -> dict[str, Any]:
            result = create_repository.run(
                repository,
                SystemClock(),
                create_key=params["create_key"],
                wanted=wanted,
                check_mode=module.check_mode,
            )
            return {
                "changed": result.changed,
                "key_created": result.key_created,
                "key_file": str(repository.key.key_file or ""),
                "key_id": result.key_id or "",
                "repository_id": result.repository_id or "",
                **recipients.result(repository.url, result.recipients),
            }

        with provided([] if module.check_mode else directories, owner):
            runner.run(module, repository, (), lambda: owner, task)


if __name__ == "__main__":
    main()
