# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Forgetting the target of a recovery that is over, and what was set only for its time.

To a primary it means nothing. But every copy made of it, by pg_basebackup too, has the same configuration, and a
standby obeys it: it would follow the old timeline, or stop and open itself at the old time; and never read ahead.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from .. import durable
from .recovery_settings import PREFETCH

AUTO_CONF = "postgresql.auto.conf"
_TARGET = re.compile(r"[ \t]*recovery_target(?:_\w+)?\b", re.IGNORECASE)
_OURS = f"{PREFETCH} = 'off'\n"  # to the letter: another one is the user's


def without_targets(configuration: str) -> str:
    """A configuration without the lines that say where a recovery shall end, or how it shall read."""
    lines = configuration.splitlines(keepends=True)
    return "".join(line for line in lines if line != _OURS and not _TARGET.match(line))


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
