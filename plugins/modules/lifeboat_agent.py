#!/usr/bin/python
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Install the on-host command and its configuration."""

from __future__ import annotations

DOCUMENTATION = r"""
module: lifeboat_agent
short_description: Install the on-host command lifeboat and its configuration
version_added: 0.1.0
description:
  - Installs the command C(lifeboat), which PostgreSQL calls for every WAL file and which works with no controller
    around.
  - The command is one file, made from the very source that this collection's modules run, so both always agree.
    It needs nothing of Ansible on the host.
  - Writes the host's configuration file from O(clusters) and O(repositories).
  - An older version that is still running keeps its file until it has ended.
author: Lifeboat contributors (@lifeboat)
extends_documentation_fragment:
  - lifeboat.postgresql.cluster
  - lifeboat.postgresql.connection
  - lifeboat.postgresql.s3
options:
  state:
    description: Whether the command and its configuration are there. Keys and repositories are never removed.
    type: str
    choices: [absent, present]
    default: present
  prefix:
    description: Where the command is installed, as C(bin/lifeboat) and C(lib/lifeboat) below this directory.
    type: path
    default: /usr/local
  interpreter:
    description:
      - The Python that runs the command; it needs the packages zstandard and cryptography.
      - Defaults to the system's.
    type: path
    default: /usr/bin/python3
  repositories:
    description: The repositories to describe in the configuration file.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name in the file.
        type: str
        required: true
      url:
        description: Where it is, an absolute path or V(s3://bucket/prefix).
        type: str
        required: true
      key_file:
        description: The file with its key; see O(key_file). A repository needs this or one of the next two.
        type: path
      key_command:
        description: A command that prints its key; see O(key_command).
        type: str
      passphrase_file:
        description: The file with a passphrase that opens it; see O(passphrase_file).
        type: path
      s3_endpoint:
        description: The URL of an S3 server other than AWS.
        type: str
      s3_region:
        description: The bucket's region.
        type: str
      s3_path_style:
        description: Whether the bucket's name is in the path of requests or in the host name.
        type: bool
      s3_ca_file:
        description: The file with certificates of authorities that may have signed the S3 server's.
        type: path
      s3_profile:
        description: The profile to use, of O(repositories[].s3_credentials_file) or of AWS's own configuration files.
        type: str
      s3_credentials_file:
        description: The file with the access key and its secret; see O(s3_credentials_file).
        type: path
  clusters:
    description: The clusters to describe in the configuration file.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name in the file.
        type: str
        required: true
      repository:
        description: The name of its repository. It needs this or O(clusters[].repositories).
        type: str
      repositories:
        description:
          - The names of its repositories. WAL counts as archived when every one of them has it.
          - Backups and restores use the first one unless told otherwise.
        type: list
        elements: str
      optional_repositories:
        description: The names of repositories that get its WAL too, but may lag behind while they cannot be reached.
        type: list
        elements: str
      wal_drop_after:
        description:
          - How much WAL may wait for a required repository that does not take it, as a number of segments, or with
            C(MB), C(GB) or C(TB) behind it. Beyond that the oldest is given up, a gap that the repository records.
          - Without it nothing is ever given up; the server keeps its WAL until its disk is full.
        type: str
      stanza:
        description: Its name in the repository. Defaults to O(clusters[].name).
        type: str
      method:
        description: How backups get at its files; see O(method).
        type: str
        choices: [files, stream]
      wal_method:
        description:
          - How its WAL comes to the repositories; V(archive) unless said otherwise.
          - V(archive) has the server hand over every finished segment (C(archive_command)).
          - V(stream) has the service C(lifeboat receive) take it from the server as it is written, by way of a
            replication slot, on this host or on another one. V(both) does both; nothing is stored twice.
        type: str
        choices: [archive, stream, both]
      slot:
        description: The replication slot of its receiver. Defaults to C(lifeboat_) and O(clusters[].name).
        type: str
      partial_interval:
        description:
          - After how many seconds the receiver ships what has come of the segment that is not finished yet; V(5) unless
            said otherwise. Losing the server and the receiver's host loses no more than that.
          - V(0) ships finished segments only.
        type: float
      spool:
        description:
          - The directory in which the receiver keeps WAL until every repository has it. Defaults to
            C(/var/lib/lifeboat/) and O(clusters[].name).
          - Where host loss matters it is on another host than the server.
        type: path
      synchronous:
        description:
          - Whether the receiver writes WAL through to its disk at once, so that the server may name it in
            C(synchronous_standby_names), under the name in O(clusters[].slot). Commits then wait for it, and none that
            was acknowledged is missing in O(clusters[].spool).
        type: bool
      retention:
        description: The name of its retention policy, one of O(retentions). Without one nothing expires.
        type: str
      thresholds:
        description:
          - From where on something is a warning and from where on critical in C(lifeboat status) and
            M(lifeboat.postgresql.pg_backup_info), each as C(NAME=WARNING/CRITICAL), or V(never).
          - C(backup_age) is how old the newest backup is (V(26h/50h) unless said otherwise), C(archive_lag) for how
            long the oldest segment waits (V(5min/30min)), C(archive_waiting) how many wait (V(20/200)), and C(slot_lag)
            how much a slot without C(max_slot_wal_keep_size) keeps (V(10GB/50GB)); with that limit it is half and four
            fifths of it.
        type: list
        elements: str
      data_directory:
        description: The server's data directory.
        type: path
      bin_dir:
        description: The directory with PostgreSQL's own programs.
        type: path
      database_url:
        description:
          - The server as a URL, see O(database_url). With a password in it the file can be read by O(group) only.
          - The options below win over its parts.
        type: str
      login_host:
        description: The server's host name or address.
        type: str
      login_port:
        description: The server's port.
        type: int
      login_user:
        description: The role to connect as.
        type: str
      login_unix_socket:
        description: The directory of the server's Unix socket.
        type: path
      login_db:
        description: The database to connect to.
        type: str
      ssl_mode:
        description: Whether and how TLS is used, as libpq's C(sslmode).
        type: str
        choices: [allow, disable, prefer, require, verify-ca, verify-full]
      ca_cert:
        description: The file with certificates of authorities that may have signed the server's.
        type: path
  retentions:
    description: The retention policies to describe in the configuration file.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Its name in the file.
        type: str
        required: true
      keep_last:
        description: How many of the newest backups to keep; see M(lifeboat.postgresql.pg_backup_expire).
        type: list
        elements: str
      keep_days:
        description: For how many days to keep backups.
        type: list
        elements: str
      keep_wal_days:
        description: Of how many days all WAL is kept.
        type: float
      grace_hours:
        description: For how many hours data that nobody needs stays before it is deleted.
        type: float
  group:
    description:
      - The group that may read the configuration file, usually that of the data directories' owner.
      - Without it everybody may; the file holds no secrets, unless O(clusters[].database_url) has a password. Then
        this option is needed when the module runs as root.
    type: str
attributes:
  check_mode:
    support: full
    description: Predicts whether the command or the file would change.
  diff_mode:
    support: full
    description: Shows the configuration file before and after.
  idempotent:
    support: full
    description: A second run changes nothing.
"""

EXAMPLES = r"""
- name: Install the command and describe this host's cluster
  lifeboat.postgresql.lifeboat_agent:
    repositories:
      - name: local
        url: /srv/lifeboat
        key_file: /etc/lifeboat/local.key
    clusters:
      - name: main
        repository: local
        stanza: "{{ inventory_hostname }}-main"
        data_directory: /var/lib/postgresql/15/main
    group: postgres

- name: WAL has to be here and in the bucket, and goes to the archive in the cellar when that is reachable
  lifeboat.postgresql.lifeboat_agent:
    repositories:
      - name: local
        url: /srv/lifeboat
        key_file: /etc/lifeboat/local.key
      - name: bucket
        url: s3://backups/db1
        key_file: /etc/lifeboat/bucket.key
      - name: cellar
        url: /mnt/cellar/lifeboat
        key_file: /etc/lifeboat/cellar.key
    clusters:
      - name: main
        repositories: [local, bucket]
        optional_repositories: [cellar]
        data_directory: /var/lib/postgresql/15/main
    group: postgres

- name: Take it away
  lifeboat.postgresql.lifeboat_agent:
    state: absent
"""

RETURN = r"""
command:
  description: The command that was installed.
  returned: success
  type: str
  sample: /usr/local/bin/lifeboat
application:
  description: The file it leads to; its name changes with its content.
  returned: when O(state=present)
  type: str
config_file:
  description: The configuration file.
  returned: success
  type: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.respawn import has_respawned, respawn_module
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import agent, arguments, runner
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import config
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.agent_bundle import Installation

REPOSITORY = {
    "name": {"type": "str", "required": True},
    "url": {"type": "str", "required": True},
    **arguments.KEY,
    **arguments.S3,
}
CLUSTER = {
    "name": {"type": "str", "required": True},
    "repository": {"type": "str"},
    "repositories": {"type": "list", "elements": "str"},
    "optional_repositories": {"type": "list", "elements": "str"},
    "wal_drop_after": {"type": "str"},
    "stanza": {"type": "str"},
    "method": arguments.CLUSTER["method"],
    **arguments.RECEIVE,
    "retention": {"type": "str"},
    "thresholds": {"type": "list", "elements": "str"},
    "data_directory": {"type": "path"},
    "bin_dir": {"type": "path"},
    **{name: spec for name, spec in arguments.CONNECTION.items() if name != "login_password"},
}
RETENTION = {"name": {"type": "str", "required": True}, **arguments.RETENTION}


def main() -> None:
    """Parse, run, exit."""
    module = AnsibleModule(
        argument_spec={
            **arguments.SHARED,
            "state": {"type": "str", "choices": ["absent", "present"], "default": "present"},
            "prefix": {"type": "path", "default": "/usr/local"},
            "interpreter": {"type": "path", "default": "/usr/bin/python3"},
            "repositories": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": REPOSITORY,
                "mutually_exclusive": [tuple(arguments.KEY)],
                "required_one_of": [tuple(arguments.KEY)],
            },
            "clusters": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": CLUSTER,
                "mutually_exclusive": [("repository", "repositories")],
                "required_one_of": [("repository", "repositories")],
            },
            "retentions": {"type": "list", "elements": "dict", "default": [], "options": RETENTION},
            "group": {"type": "str"},
        },
        supports_check_mode=True,
    )
    params: dict[str, Any] = module.params
    with runner.reporting(module):
        if params["state"] == "present" and agent.other_interpreter(params["interpreter"]) and not has_respawned():
            respawn_module(params["interpreter"])
        installation = Installation(Path(params["prefix"]), params["interpreter"])
        config_file = Path(params["config_file"] or config.DEFAULT_PATH)
        if params["state"] == "present":
            repositories, retentions = (agent.sections(params[kind]) for kind in ("repositories", "retentions"))
            clusters = agent.cluster_sections(params["clusters"])
            text = config.render(repositories, clusters, retentions)
            result = agent.present(
                installation, config_file, text, clusters, params["group"], check_mode=module.check_mode
            )
        else:
            result = agent.absent(installation, config_file, check_mode=module.check_mode)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
