#!/usr/bin/python
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configure WAL archiving and prove it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pitr_configure
short_description: Configure WAL archiving of a PostgreSQL cluster, and prove it
version_added: 0.1.0
description:
  - Brings the server's archiving into the desired state, so that every WAL segment goes compressed and encrypted into
    the repository and the cluster can be recovered to any point in time.
  - Registers the cluster under its stanza in every repository that gets its WAL; a stanza of another cluster is
    refused, and so is a restored cluster until it says what it is, see O(claim).
  - Proves the archive by switching to a new segment and waiting until the finished one is in every required repository.
  - The settings are written with C(ALTER SYSTEM).
  - With O(method=stream) the server's files and its command are out of reach. Its settings are left alone; the cluster
    is registered by the replication protocol, so that its WAL may come from its own host or from C(pg_receivewal).
author: Lifeboat contributors (@lifeboat)
extends_documentation_fragment:
  - lifeboat.postgresql.cluster
  - lifeboat.postgresql.connection
  - lifeboat.postgresql.s3
options:
  archive_timeout:
    description:
      - After how many seconds a segment is archived although it is not full.
      - It bounds how much is lost with the host.
    type: int
    default: 60
  claim:
    description:
      - What this cluster becomes in the archive that its stanza has already. Only asked for when that cannot be
        known, because the data directory was restored, copied or upgraded; without an answer it is refused.
      - V(timeline) means that it is the original, which goes on here. It archives the history of the timeline that its
        promotion began, and is refused when somebody else has archived another one.
      - V(incarnation) begins a new life under the stanza, with WAL of its own. It is for clusters that C(pg_upgrade)
        has given a new system identifier, and for clones beside a living original. It needs a backup of its own.
      - A cluster that has its claim is left as it is.
    type: str
    choices: [incarnation, timeline]
  restart:
    description:
      - Whether the server may be restarted when that is needed, as when C(archive_mode) has been off.
      - When it is needed and not allowed, the settings are written and RV(restart_required) says so; the proof
        comes with the next run.
      - A server that belongs to a systemd unit is not restarted behind systemd's back; the failure names the unit.
    type: bool
    default: false
  replace_archiver:
    description:
      - Whether an C(archive_command) or C(archive_library) of another program may be replaced.
      - Without it such a server is refused, so that no other backup tool is cut off by accident.
    type: bool
    default: false
  proof_timeout:
    description: How many seconds to wait for the segment that proves the archive.
    type: float
    default: 60
attributes:
  check_mode:
    support: full
    description: Predicts every setting that would change and whether a restart is needed.
  diff_mode:
    support: full
    description: Shows every setting before and after.
  idempotent:
    support: full
    description: A second run changes nothing, and switches no WAL while archiving works.
"""

EXAMPLES = r"""
- name: Archive WAL, losing at most a minute
  lifeboat.postgresql.pitr_configure:
    data_directory: /var/lib/postgresql/15/main
    repository: /srv/lifeboat
    key_file: /etc/lifeboat/main.key
    stanza: db1-main
    archive_timeout: 60

- name: The same, with everything else from lifeboat.conf, allowed to restart the server
  lifeboat.postgresql.pitr_configure:
    cluster: main
    restart: true

- name: A restored server takes the original's place
  lifeboat.postgresql.pitr_configure:
    cluster: main
    claim: timeline
    restart: true

- name: Give a server elsewhere its place in the repository of this backup host
  lifeboat.postgresql.pitr_configure:
    stanza: shop
    repository: /srv/lifeboat
    key_file: /etc/lifeboat/main.key
    method: stream
    login_host: db.example.com
    login_user: lifeboat
    login_password: "{{ lifeboat_password }}"
"""

RETURN = r"""
restart_required:
  description: Whether the server must be restarted before it archives.
  returned: success
  type: bool
restarted:
  description: Whether the server was restarted, or in check mode would be.
  returned: success
  type: bool
registered:
  description: Whether the cluster was registered in the repository, or made a claim there, by this run.
  returned: success
  type: bool
incarnation:
  description: The id of the life that the cluster archives into; empty in check mode when it is yet to be claimed.
  returned: success
  type: str
  sample: 1c93b52a7e0d4f68
proven_segment:
  description:
    - The segment that proves the archive; empty in check mode and when a restart is needed first.
    - With O(method=stream) the newest segment that has come, if any.
  returned: success
  type: str
  sample: "000000010000000000000005"
settings:
  description: The settings that this module looks after, as they are now.
  returned: success
  type: dict
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import arguments, runner, settings
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.as_owner import owner_for_cluster
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs import (
    configure_archiving,
    register_remote,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.ports import ProgressSink
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.process import Runner


def main() -> None:
    """Parse, run, exit."""
    module = AnsibleModule(
        argument_spec={
            **arguments.SHARED,
            "archive_timeout": {"type": "int", "default": 60},
            "claim": {"type": "str", "choices": ["incarnation", "timeline"]},
            "restart": {"type": "bool", "default": False},
            "replace_archiver": {"type": "bool", "default": False},
            "proof_timeout": {"type": "float", "default": 60},
        },
        supports_check_mode=True,
    )
    params = module.params
    with runner.reporting(module):
        cluster, repository = settings.specs(params)
        request = configure_archiving.ArchivingRequest(
            cluster,
            repository,
            agent=Path(params["agent_command"]),
            push_options=settings.command_options(params, cluster, repository),
            archive=settings.archive_spec(params, cluster, repository),
            claim=params["claim"],
            archive_timeout=params["archive_timeout"],
            restart_allowed=params["restart"],
            replace_archiver=params["replace_archiver"],
            proof_timeout=params["proof_timeout"],
        )

        def task(sink: ProgressSink) -> dict[str, Any]:
            if cluster.method == "stream":
                result = register_remote.run(cluster, repository, SystemClock(), sink, check_mode=module.check_mode)
            else:
                result = configure_archiving.run(request, SystemClock(), Runner(), sink, check_mode=module.check_mode)
            return {
                "changed": result.changed,
                "restart_required": result.restart_required,
                "restarted": result.restarted,
                "registered": result.registered,
                "incarnation": result.incarnation or "",
                "proven_segment": result.proven_segment or "",
                "settings": result.before if module.check_mode else result.after,
                "diff": {"before": result.before, "after": result.after},
            }

        runner.run(
            module,
            repository,
            configure_archiving.THIRD_PARTY,
            lambda: owner_for_cluster(cluster, repository),
            task,
        )


if __name__ == "__main__":
    main()
