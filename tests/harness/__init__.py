# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests run against: real servers, the installed collection, and the certainty that nothing outlives a run.

Tests get these by fixtures (tests/integration/conftest.py); the names below are for helpers and type annotations.
"""

from __future__ import annotations

from .cluster import DATABASE, PASSWORD, PASSWORD_ROLE, SUPERUSER, Cluster, free_port
from .guard import wait_until
from .machine import BUILD, CHECKOUT, PROGRAMS, CommandFailed, cannot_be_had, run, server_folder, server_user
from .postgres import Postgres, main_version, versions
from .run_folder import RunFolder

__all__ = [
    "BUILD",
    "CHECKOUT",
    "DATABASE",
    "PASSWORD",
    "PASSWORD_ROLE",
    "PROGRAMS",
    "SUPERUSER",
    "Cluster",
    "CommandFailed",
    "Postgres",
    "RunFolder",
    "cannot_be_had",
    "free_port",
    "main_version",
    "run",
    "server_folder",
    "server_user",
    "versions",
    "wait_until",
]
