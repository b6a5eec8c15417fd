# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration that is kept outside the data directory, as Debian does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .connection import Connection
from .server import Server


@dataclass(frozen=True)
class ConfigFile:
    """A configuration file, and its name relative to where postgresql.conf is."""

    path: Path
    name: str


def outside(connection: Connection, server: Server) -> tuple[list[ConfigFile], list[str]]:
    """The files to back up beside the data directory, and those that cannot be given a place.

    A restore puts them into the restored directory under the same relative names, so that
    `include_dir = 'conf.d'` finds them; a file elsewhere is left out and named.
    """
    directory = server.data_directory.resolve()
    base = Path(server.settings["config_file"]).parent
    rows = connection.rows(
        "listing the server's configuration files",
        "SELECT DISTINCT sourcefile FROM pg_settings WHERE sourcefile IS NOT NULL",
    )
    wanted = {Path(server.settings[name]) for name in ("config_file", "hba_file", "ident_file")}
    wanted |= {Path(row[0]) for row in rows}
    files, left_out = [], []
    for path in sorted(wanted):
        if directory in path.resolve().parents:
            continue
        if base in path.parents:
            files.append(ConfigFile(path, str(path.relative_to(base))))
        else:
            left_out.append(str(path))
    return files, left_out
