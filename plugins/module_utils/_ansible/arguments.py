# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that modules share. Their documentation is in plugins/doc_fragments/ under the same names.

Every module of the action group accepts all of them, so that `module_defaults` can carry them once.
"""

from __future__ import annotations

from typing import Any

from .._engine.receive_settings import WAL_METHODS
from .._engine.specs import METHODS

Spec = dict[str, dict[str, Any]]

# What opens a repository and can be written into lifeboat.conf.
KEY: Spec = {
    "key_file": {"type": "path", "no_log": False},
    "key_command": {"type": "str", "no_log": False},
    "passphrase_file": {"type": "path", "no_log": False},
}

CLUSTER: Spec = {
    "cluster": {"type": "str", "default": "main"},
    "config_file": {"type": "path"},
    "stanza": {"type": "str"},
    "repository": {"type": "str"},
    **KEY,
    "passphrase": {"type": "str", "no_log": True},
    "method": {"type": "str", "choices": list(METHODS)},
    "data_directory": {"type": "path"},
    "bin_dir": {"type": "path"},
    "agent_command": {"type": "path", "default": "/usr/local/bin/lifeboat"},
    "job_id": {"type": "str"},
}

CONNECTION: Spec = {
    "database_url": {"type": "str", "no_log": True},
    "login_host": {"type": "str"},
    "login_port": {"type": "int"},
    "login_user": {"type": "str"},
    "login_password": {"type": "str", "no_log": True},
    "login_unix_socket": {"type": "path"},
    "login_db": {"type": "str"},
    "ssl_mode": {
        "type": "str",
        "choices": ["allow", "disable", "prefer", "require", "verify-ca", "verify-full"],
    },
    "ca_cert": {"type": "path"},
}

S3: Spec = {
    "s3_endpoint": {"type": "str"},
    "s3_region": {"type": "str"},
    "s3_path_style": {"type": "bool"},
    "s3_ca_file": {"type": "path"},
    "s3_profile": {"type": "str"},
    "s3_credentials_file": {"type": "path"},
}

# A retention policy; the engine's RETENTION_KEYS under the same names.
RETENTION: Spec = {
    "keep_last": {"type": "list", "elements": "str"},
    "keep_days": {"type": "list", "elements": "str"},
    "keep_wal_days": {"type": "float"},
    "grace_hours": {"type": "float"},
}

# How WAL leaves the server; the engine's RECEIVE_KEYS under the same names.
RECEIVE: Spec = {
    "wal_method": {"type": "str", "choices": list(WAL_METHODS)},
    "slot": {"type": "str"},
    "partial_interval": {"type": "float"},
    "spool": {"type": "path"},
    "synchronous": {"type": "bool"},
}

SHARED: Spec = {**CLUSTER, **CONNECTION, **S3}
