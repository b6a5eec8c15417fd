# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a database is dumped or brought back, and how pg_dump and pg_restore are told."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

CONTENTS = ("all", "schema", "data")
FORMS = {"custom": "dump", "plain": "sql"}  # with the ends of their files' names


@dataclass(frozen=True)
class Selection:
    """Patterns are pg_dump's own: `schema.table`, with `*` and `?`; a name with capitals or spaces in double quotes."""

    tables: tuple[str, ...] = ()
    exclude_tables: tuple[str, ...] = ()
    exclude_table_data: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    exclude_schemas: tuple[str, ...] = ()
    content: str = "all"
    large_objects: bool | None = None  # as pg_dump does by itself: with everything, and not with chosen tables

    def options(self) -> list[str]:
        """For pg_dump."""
        words = []
        for name in ("tables", "exclude_tables", "exclude_table_data", "schemas", "exclude_schemas"):
            option = name[:-1] if name.endswith("s") else name
            # With --strict-names pg_dump refuses what matches nothing, instead of making an empty dump.
            words += [f"--{option.replace('_', '-')}={pattern}" for pattern in getattr(self, name)]
        if self.tables or self.schemas:
            words.append("--strict-names")
        if self.content != "all":
            words.append(f"--{self.content}-only")
        if self.large_objects is not None:
            words.append("--blobs" if self.large_objects else "--no-blobs")
        return words

    def given(self) -> dict[str, Any]:
        """What the user has chosen, for a manifest."""
        plain = asdict(Selection())
        chosen = {name: value for name, value in asdict(self).items() if value != plain[name]}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in chosen.items()}
