# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names every job and sink, so that whoever imports this module gets the whole engine.

Ansible sends a module to a host with just what it reaches by import statements; the module that
installs the on-host command reaches all of it here.
"""

from __future__ import annotations

from . import agent_bundle, cli, foreground
from .jobs import (
    archive,
    backup,
    configure_archiving,
    create_repository,
    expire,
    fetch,
    info,
    prefetch,
    pusher,
    receive,
    register_remote,
    restore,
    restore_files,
    restore_point,
    verify,
)
from .report import job_file, tee

__all__ = [
    "agent_bundle",
    "archive",
    "backup",
    "cli",
    "configure_archiving",
    "create_repository",
    "expire",
    "fetch",
    "foreground",
    "info",
    "job_file",
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
