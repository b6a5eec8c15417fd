# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to files that were made by hand: what they are, whether they are whole, and tables out of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...errors import PreconditionError, UnsupportedError
from ...process import Runner
from ...sources.foreign import chosen_tables, directories
from ...sources.foreign.chosen_tables import Choice, Options
from ...sources.foreign.description import ARCHIVES, SQL, UNKNOWN, Description, Layer, Payload
from ...sources.foreign.opening import OpenedFile, Unlocking, opened
from ...sources.foreign.verification import Check, Tools, Verification, verify

__all__ = [
    "Check",
    "Choice",
    "Description",
    "OpenedFile",
    "Options",
    "TablesOfDump",
    "Tools",
    "Unlocking",
    "Verification",
    "describe",
    "opened",
    "verify",
]


def describe(path: Path, runner: Runner, unlocking: Unlocking, *, as_csv: bool = False) -> Description:
    """What a file or directory is, as far as can be said without reading all of it.

    Of an encrypted file without its passphrase that is the layer that hides the rest.
    """
    attempted = f"looking at {path}"
    if path.is_dir():
        return directories.describe_directory(path, attempted)
    try:
        with opened(path, runner, unlocking, attempted, as_csv=as_csv) as file:
            return Description(file.layers, file.payload)
    except PreconditionError as exc:
        if exc.code != "foreign_passphrase_missing":
            raise
        *outer, last = exc.details["layers"]
        layers = (*(Layer(name, is_encryption=False) for name in outer), Layer(last, is_encryption=True))
        return Description(layers, Payload(UNKNOWN, note="It is encrypted, and no passphrase was given."))


class TablesOfDump:
    """Chosen tables out of a plain SQL dump, however it is compressed or encrypted.

    Making one reads the whole dump: a name that is not in it, or a dump that is not whole, is an
    error here, before anything is restored.
    """

    def __init__(
        self, path: Path, runner: Runner, unlocking: Unlocking, tables: Sequence[str], database: str | None = None
    ) -> None:
        self._path = path
        self._runner = runner
        self._unlocking = unlocking
        self._attempted = f"taking tables out of {path}"
        inventory = chosen_tables.take_inventory(self._pieces, self._attempted)
        self.choice: Choice = chosen_tables.choose(inventory, tables, self._attempted, database)

    def script(self, options: Options) -> Iterator[bytes]:
        """What psql is to run, in pieces."""
        return chosen_tables.extract(self._pieces, self.choice, options, self._attempted)

    def _pieces(self) -> Iterator[bytes]:
        with opened(self._path, self._runner, self._unlocking, self._attempted) as file:
            file.require_known(self._attempted)
            kind = file.payload.kind
            if kind != SQL:
                remedy = "Let pg_restore choose the tables." if kind in ARCHIVES else "Give a dump of PostgreSQL."
                raise UnsupportedError(
                    self._attempted,
                    f"it is no plain SQL dump but {kind}.",
                    remedy,
                    code="foreign_not_plain_sql",
                )
            yield from file.pieces
