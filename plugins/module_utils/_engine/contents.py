# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names every job and sink, so that whoever imports this module gets the whole engine.

Ansible sends a module to a host with just what it reaches by import statements; the module that
installs the on-host command reaches all of it here.
"""

from __future__ import annotations

from . import agent_bundle, cli, cli_dumps, foreground, pipes
from .jobs.archiving import configure as configure_archiving
from .jobs.archiving import register_remote
from .jobs.backup import physical as backup
from .jobs.foreign import files as foreign_files
from .jobs.receive import receiver as receive
from .jobs.repository import create as create_repository
from .jobs.restore import files as restore_files
from .jobs.restore import physical as restore
from .jobs.restore import restore_point
from .jobs.retention import expire
from .jobs.role import backup_role
from .jobs.status import info
from .jobs.verify import prove as verify
from .jobs.wal import archive, fetch, prefetch, pusher
from .report import job_file, tee

__all__ = [
    "agent_bundle",
    "archive",
    "backup",
    "backup_role",
    "cli",
    "cli_dumps",
    "configure_archiving",
    "create_repository",
    "expire",
    "fetch",
    "foreign_files",
    "foreground",
    "info",
    "job_file",
    "pipes",
    "prefetch",
    "pusher",
    "receive",
    "register_remote",
    "restore",
    "restore_files",
    "restore_point",
    "tee",
    "verify",
]
