# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forgetting the target of a recovery that is over.

To a primary it means nothing. But every copy made of it, by pg_basebackup too, has the same configuration, and a
standby obeys it: it would follow the old timeline, or stop and open itself at the old time.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from .. import durable

AUTO_CONF = "postgresql.auto.conf"
_TARGET = re.compile(r"[ \t]*recovery_target(?:_\w+)?\b", re.IGNORECASE)


def without_targets(configuration: str) -> str:
    """A configuration without the lines that say where a recovery shall end."""
    return "".join(line for line in configuration.splitlines(keepends=True) if not _TARGET.match(line))


def forget(data_directory: Path) -> None:
    """Take them out of what a restore, or ALTER SYSTEM, has written. The server does not have to be told."""
    path = data_directory / AUTO_CONF
    try:
        before = os.fsdecode(path.read_bytes())
    except FileNotFoundError:
        return
    after = without_targets(before)
    if after != before:
        durable.write_file(path, os.fsencode(after), stat.S_IMODE(path.stat().st_mode))
