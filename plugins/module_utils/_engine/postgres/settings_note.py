# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A note on the server of what was changed there, in a file of the data directory.

It is read and written by SQL, so that it is the same one whether its files are at hand or not, and
so that whoever restores or copies the cluster has it beside the settings it is about.
"""

from __future__ import annotations

from pathlib import Path

from .connection import Connection

FILE = "lifeboat.settings"


def read(connection: Connection) -> str | None:
    """The note's text; None when there is none."""
    (text,) = connection.row(
        "reading what was changed in the server's settings", "SELECT pg_read_file(%s, 0, 1048576, true)", FILE
    )
    # COPY has doubled every backslash, which is all that it changes in one line of JSON.
    return str(text).replace("\\\\", "\\") if text is not None else None


def write(connection: Connection, data_directory: Path, text: str) -> None:
    """Write it, before the settings are changed: what is noted and was not done in the end does no harm."""
    connection.write_file("noting what is changed in the server's settings", str(data_directory / FILE), text)
