#!/usr/bin/python
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configure WAL archiving and prove it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pitr_configure
short_description: Configure how WAL leaves a PostgreSQL cluster, and prove it
version_added: 0.1.0
description:
  - Brings the server's settings into the desired state, so that every WAL segment goes compressed and encrypted into
    the repository and the cluster can be recovered to any point in time. WAL goes there by the server's own
    archiving, by a streaming receiver with a replication slot, or both ways, see O(wal_method).
  - Registers the cluster under its stanza in every repository that gets its WAL; a stanza of another cluster is
    refused, and so is a restored cluster until it says what it is, see O(claim).
  - Proves it by switching to a new segment and waiting until the finished one is in every required repository. When it
    does not come, the failure brings together what the server's statistics and log and Lifeboat itself say about it.
  - The settings are written with C(ALTER SYSTEM), and what was there before is noted in the file
    C(lifeboat.settings) of the data directory. A setting that the server's command line overrides is refused before
    anything is changed.
  - A server that Patroni runs is not changed behind its back; the failure says what to give C(patronictl edit-config).
  - With O(method=stream) the server's files and its command are out of reach, and only what SQL can do is done, as
    over TCP from another host. The cluster is registered by the replication protocol. With O(wal_method=stream), or
    when one of the settings below is given, these settings and the replication slot are brought into the desired
    state; the server is never restarted from there, and C(archive_command) is left to a run on the server's own host.
author: Lifeboat contributors (@lifeboat)
extends_documentation_fragment:
  - lifeboat.postgresql.cluster
  - lifeboat.postgresql.connection
  - lifeboat.postgresql.s3
options:
  state:
    description:
      - With V(absent) everything that this module has changed is taken back. What C(ALTER SYSTEM) had set before is
        there again, the replication slot is dropped, and what others have set since stays.
      - With O(method=stream), where the server's own host archives too, only the replication slot is taken away.
      - The repository, the key, and the cluster's claim to its archive stay. While the server waits for the restart
        that ends C(archive_mode) it keeps its WAL, so let that not wait long.
    type: str
    choices: [absent, present]
    default: present
  wal_method:
    description:
      - How WAL comes to the repositories; V(archive) unless said otherwise.
      - V(archive) has the server hand over every finished segment (C(archive_command)).
      - V(stream) has a receiver (C(lifeboat receive)) take it from the server as it is written, by way of a replication
        slot, which is made here. C(archive_mode) and what belongs to it is taken back if it was set here before.
      - V(both) does both; nothing is stored twice.
      - As long as nobody has received from a slot that this run has made, there is a warning in place of the proof.
    type: str
    choices: [archive, stream, both]
  slot:
    description:
      - The replication slot of the receiver. Defaults to C(lifeboat_) and O(cluster).
      - It is dropped with O(state=absent), and when O(wal_method) says that there is no receiver any more; a slot that
        is in use is refused.
      - Several hosts may receive from one server, each with a slot of its own. A run with O(method=stream) leaves all
        others alone, so before its slot gets another name, take the old one away with O(state=absent).
    type: str
  archive_timeout:
    description:
      - After how many seconds a segment is archived although it is not full, or with a unit such as V(5min). It bounds
        how much is lost with the host.
      - V(60) unless said otherwise where the server archives, else left as it is. V(0) waits until a segment is full.
    type: str
  wal_level:
    description:
      - How much is written to WAL. Needs a restart.
      - Without it V(replica) where it is less. It is never lowered, as others may need what they have set.
    type: str
    choices: [replica, logical]
  max_wal_senders:
    description:
      - How many standbys, receivers and backups by protocol can be connected at a time. Needs a restart. Standbys
        need at least as many, and before the primary has them.
      - Without it the server's number stays, unless that is 0 and there is to be a receiver.
    type: int
  wal_keep_size:
    description:
      - How much WAL the server keeps for standbys and receivers without a slot, in megabytes or with a unit such as
        V(1GB). Left as it is unless given.
    type: str
  max_slot_wal_keep_size:
    description:
      - How much WAL a replication slot may keep at most, in megabytes or with a unit such as V(50GB), before the server
        gives it up rather than fill its disk; V(-1) for no limit. Left as it is unless given.
    type: str
  summarize_wal:
    description:
      - Whether the server notes which pages its WAL changes. With it, incremental backups read just these pages of
        files that have changed, and not the whole files. Left as it is unless given.
      - PostgreSQL before 17 cannot; V(true) is refused there, V(false) ignored.
    type: bool
  wal_compression:
    description:
      - Whether and how the server compresses the full pages in its WAL. It writes, sends and archives less of it then,
        for some of its own processor time; the archive is compressed in any case. Left as it is unless given.
      - V(on) is V(pglz), the only method before PostgreSQL 15. V(lz4) and V(zstd) are refused where the server is
        older, or was built without them.
    type: str
    choices: ['off', 'on', pglz, lz4, zstd]
  claim:
    description:
      - What this cluster becomes in the archive that its stanza has already. Only asked for when that cannot be
        known, because the data directory was restored, copied or upgraded; without an answer it is refused.
      - V(timeline) means that it is the original, which goes on here. It archives the history of the timeline that its
        promotion began, and is refused when somebody else has archived another one.
      - V(incarnation) begins a new life under the stanza, with WAL of its own. It is for clusters that C(pg_upgrade)
        has given a new system identifier, and for clones beside a living original. It needs a backup of its own.
        What the server has kept of its WAL until then is archived.
      - With O(method=stream) a new life begins only where the server has another system identifier than before.
      - A cluster that has its claim is left as it is.
    type: str
    choices: [incarnation, timeline]
  restart:
    description:
      - What happens when a setting needs a restart of the server, as when C(archive_mode) has been off.
      - V(never) refuses then, before anything is changed.
      - V(report) writes the settings, and RV(restart_required) says so; the proof comes with the first run after the
        restart.
      - V(when_needed) restarts it. A server that belongs to a systemd unit is not restarted behind systemd's back; the
        failure names the unit.
      - V(false) is another word for V(report), V(true) for V(when_needed).
    type: str
    choices: [never, report, when_needed, 'true', 'false']
    default: report
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
    description:
      - Predicts every setting that would change, whether a restart is needed, and what becomes of the slot; refuses
        what the run would refuse. The proof is not predicted.
  diff_mode:
    support: full
    description: Shows every setting, and the replication slot, before and after.
  idempotent:
    support: full
    description: A second run changes nothing, and switches no WAL while it comes through.
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

- name: Archive, and have a receiver take what is not archived yet, on a server that may be restarted
  lifeboat.postgresql.pitr_configure:
    cluster: main
    wal_method: both
    max_slot_wal_keep_size: 50GB
    restart: when_needed

- name: Give the server back as it was
  lifeboat.postgresql.pitr_configure:
    cluster: main
    state: absent
    restart: when_needed

- name: A restored server takes the original's place
  lifeboat.postgresql.pitr_configure:
    cluster: main
    claim: timeline
    restart: true

- name: After pg_upgrade the cluster goes on under its stanza, in a life of its own
  lifeboat.postgresql.pitr_configure:
    cluster: main
    claim: incarnation

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
  description: Whether the server must be restarted before the settings are in effect.
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
    - The segment that proves the archive; empty in check mode, when a restart is needed first, with O(state=absent),
      and as long as nobody receives from a new slot.
    - When a cluster is only registered, as with O(method=stream), the newest segment that has come, if any.
  returned: success
  type: str
  sample: "000000010000000000000005"
settings:
  description:
    - The settings that this module looks after, as they are now, or will be after a restart that RV(restart_required)
      asks for; in check mode as they were before.
  returned: success
  type: dict
  sample: {archive_mode: "on", archive_timeout: 60s, wal_level: replica}
slot:
  description: The replication slot that is there for a receiver, empty without one; in check mode what would be.
  returned: success
  type: str
  sample: lifeboat_main
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import archiving, arguments, runner, settings
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.as_owner import owner_for_cluster
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.archiving import (
    configure as configure_archiving,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.ports import ProgressSink
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.process import Runner


def main() -> None:
    """Parse, run, exit."""
    module = AnsibleModule(argument_spec={**arguments.SHARED, **archiving.OPTIONS}, supports_check_mode=True)
    params = module.params
    with runner.reporting(module):
        cluster, repository = settings.specs(params)
        request = archiving.request(params, cluster, repository)

        def task(sink: ProgressSink) -> dict[str, Any]:
            result = configure_archiving.run(request, SystemClock(), Runner(), sink, check_mode=module.check_mode)
            return archiving.values(result, check_mode=module.check_mode)

        runner.run(
            module,
            repository,
            configure_archiving.THIRD_PARTY,
            lambda: owner_for_cluster(cluster, repository),
            task,
        )


if __name__ == "__main__":
    main()
