# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite's own check of a database that comes out of a file, on a copy of it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ...errors import StorageError, UnsupportedError

_NAME = "integrity"
_DAMAGED = "foreign_file_damaged"


def integrity(pieces: Iterable[bytes], work_directory: Path, attempted: str) -> tuple[str, bool, str, str]:
    """Unpack the database, have SQLite check it, and remove it: a check's name, result, words and code."""
    try:
        import sqlite3
    except ImportError as exc:
        raise UnsupportedError(
            attempted,
            f"this Python has no module sqlite3 ({exc}).",
            "Install the package that brings it.",
            code="sqlite_missing",
        ) from exc
    with tempfile.TemporaryDirectory(prefix="lifeboat-sqlite-", dir=work_directory) as folder:
        copy = Path(folder) / "copy.db"
        _write(pieces, copy, attempted)
        try:
            connection = sqlite3.connect(copy.as_uri() + "?immutable=1", uri=True)
            try:
                found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
            finally:
                connection.close()
        except sqlite3.DatabaseError as exc:
            return _NAME, False, f"SQLite cannot read it: {exc}.", _DAMAGED
    if found != ["ok"]:
        return _NAME, False, "SQLite finds: " + "; ".join(found), _DAMAGED
    return _NAME, True, "SQLite's integrity_check finds nothing wrong.", ""


def _write(pieces: Iterable[bytes], path: Path, attempted: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for piece in pieces:
            try:
                file.write(piece)
            except OSError as exc:
                raise StorageError(
                    attempted,
                    f"the database cannot be unpacked into {path.parent}: {exc.strerror}.",
                    "Make room there, or choose another work directory.",
                    code="foreign_unpack_failed",
                ) from exc
