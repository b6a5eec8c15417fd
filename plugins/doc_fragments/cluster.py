# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that say which cluster and which repository."""

from __future__ import annotations


class ModuleDocFragment:
    """Shared by every module of the action group."""

    DOCUMENTATION = r"""
options:
  cluster:
    description:
      - The cluster's name on this host.
      - When O(config_file), or C(/etc/lifeboat/lifeboat.conf), describes it, every option left out here is
        taken from there.
    type: str
    default: main
  config_file:
    description:
      - The host's configuration file, as written by M(lifeboat.postgresql.lifeboat_agent).
      - Without it C(/etc/lifeboat/lifeboat.conf) is used where it exists and has the cluster.
    type: path
  stanza:
    description:
      - The cluster's name in the repository. Defaults to O(cluster).
      - Members of one high-availability cluster share a stanza; other clusters never do.
    type: str
  repository:
    description:
      - The repository, an absolute path such as C(/srv/lifeboat), or V(s3://bucket/prefix).
      - Or the name of one of the repositories that O(config_file) gives the cluster, instead of the first.
    type: str
  key_file:
    description:
      - The file with the repository's key.
      - It must belong to the data directory's owner and be readable by nobody else.
      - A repository is opened with one of O(key_file), O(key_command), O(passphrase_file) and O(passphrase).
        One that is given here takes the place of what O(config_file) says.
    type: path
  key_command:
    description:
      - A command that prints the repository's key, as it is in a key file, such as that of a password manager.
      - It is run as the data directory's owner, without a shell and with hardly anything in its environment.
      - Others can see it while it runs, so it must contain no secret.
    type: str
  passphrase_file:
    description:
      - The file whose first line is a passphrase that opens the repository.
      - It must belong to the data directory's owner and be readable by nobody else.
      - Passphrases are for people and for recovery. Each use takes a third of a second and 64 MiB of memory, so
        let servers archive with O(key_file) or O(key_command).
    type: path
  passphrase:
    description:
      - A passphrase that opens the repository.
      - The command that PostgreSQL calls for WAL cannot be told it, so a restore takes O(passphrase_file) instead.
    type: str
  method:
    description:
      - How backups get at the cluster's files; V(files) unless said otherwise.
      - V(files) reads them in O(data_directory), in parallel, and passes over what has not changed.
      - V(stream) has the server send them by the replication protocol, as C(pg_basebackup) does, so that the server can
        be anywhere. It needs a role with C(REPLICATION) and neither O(data_directory) nor any program on the server's
        host. What is stored is the same, and so is everything that is done with it.
    type: str
    choices: [files, stream]
  data_directory:
    description: The server's data directory. Needed when the module runs as root and O(method) is not V(stream).
    type: path
  bin_dir:
    description:
      - The directory with PostgreSQL's own programs.
      - Defaults to that of the running server, then to the distribution's place for the version.
    type: path
  agent_command:
    description: The on-host command, which PostgreSQL runs for every WAL file.
    type: path
    default: /usr/local/bin/lifeboat
  job_id:
    description:
      - A name for this run; its progress can be followed in a file of this name under C(/run/lifeboat/jobs).
      - The action plugin sets it and shows the progress while the module runs.
    type: str
requirements:
  - python >= 3.9
  - zstandard
  - cryptography
notes:
  - Run it as root or as the owner of the data directory. As root the module works as that owner.
  - A failure returns C(error_code), which never changes between releases, and a message that says what was attempted,
    what happened and what to do.
"""
