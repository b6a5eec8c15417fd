# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chosen tables out of a plain SQL dump.

The dump is read twice. The first time says which tables there are, what belongs to them and whether
the dump is whole; so a name that is not there, or a dump that breaks off, is known before anything
is restored. The second time yields the statements and rows of the chosen tables, in order.

As with `pg_dump --table`, schemas, types and functions that a table needs are not part of it.
Statements that drop something are never repeated.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ...errors import IntegrityError, PreconditionError
from .dump_ends import Ends
from .dump_statements import CONNECTED, statements
from .sql_effects import AUTHORIZATION, COPY, CREATION, DATA, DEFINITION, OWNER, PRIVILEGE, SETTING, Effect
from .sql_words import Name, Words

Opener = Callable[[], Iterable[bytes]]


@dataclass(frozen=True)
class Options:
    """What of a table is wanted.

    A foreign key to a table that is not chosen is left out, unless `foreign_keys_to_others` says
    that the table is there.
    """

    schema: bool = True
    data: bool = True
    owner: bool = True
    privileges: bool = True
    foreign_keys_to_others: bool = False


@dataclass
class Catalog:
    """What a dump has of one database."""

    tables: set[Name] = field(default_factory=set)
    sequences: set[Name] = field(default_factory=set)
    belongs_to: dict[Name, Name] = field(default_factory=dict)  # a sequence or an index -> its table
    uses: dict[Name, set[Name]] = field(default_factory=dict)
    parents: dict[Name, Name] = field(default_factory=dict)  # a partition -> what it is a partition of
    references: dict[Name, set[Name]] = field(default_factory=dict)  # a table -> where its foreign keys lead

    def note(self, effect: Effect) -> None:
        """Take in what a statement says of tables."""
        if not effect.on:
            return
        first = effect.on[0]
        if effect.kind in {CREATION, COPY, DATA}:
            (self.sequences if effect.is_sequence else self.tables).add(first)
        for part in filter(None, (effect.index, effect.owned)):
            self.belongs_to[part] = first
        if effect.uses:
            self.uses.setdefault(first, set()).update(effect.uses)
        if effect.references:
            self.references.setdefault(first, set()).add(effect.references)
        if effect.parent:
            self.parents[effect.on[1]] = effect.parent

    def wanted(self, tables: Iterable[Name]) -> set[Name]:
        """The tables, their partitions, and the sequences and indexes of all of them."""
        chosen = set(tables)
        while True:
            more = {child for child, parent in self.parents.items() if parent in chosen} - chosen
            if not more:
                break
            chosen |= more
        used = {sequence for table in chosen for sequence in self.uses.get(table, ())}
        return chosen | used | {part for part, table in self.belongs_to.items() if table in chosen}


@dataclass(frozen=True)
class Inventory:
    """What a whole dump has, by database; a dump of one database that does not name it has it as ''."""

    databases: dict[str, Catalog]
    is_complete: bool | None  # None: not pg_dump's, so that nothing tells


@dataclass(frozen=True)
class Choice:
    """Tables that are in the dump."""

    database: str
    tables: tuple[Name, ...]  # partitions included
    relations: frozenset[Name]  # and what belongs to them
    others: tuple[Name, ...]  # tables that foreign keys lead to, and that are not chosen


def take_inventory(open_dump: Opener, attempted: str) -> Inventory:
    """Read all of a dump, and say what is in it."""
    databases: dict[str, Catalog] = {}
    ends = Ends(open_dump())
    for each in statements(ends, attempted):
        if each.kind == CONNECTED:
            databases.setdefault(each.database, Catalog())
        elif each.effect:
            databases.setdefault(each.database, Catalog()).note(each.effect)
    return Inventory(databases, ends.is_complete)


def choose(inventory: Inventory, names: Sequence[str], attempted: str, database: str | None = None) -> Choice:
    """Find the tables that `names` mean: `orders`, `sales.orders`, `sales."Odd name"`."""
    if inventory.is_complete is False:
        raise IntegrityError(
            attempted,
            "the dump does not end with pg_dump's closing comment, so something is missing from it.",
            "It was cut short, when it was made or copied. Take another copy, or another backup.",
            code="dump_truncated",
        )
    if database is not None and database not in inventory.databases:
        raise PreconditionError(
            attempted,
            f"the dump has no database {database}.",
            f"It has: {', '.join(sorted(filter(None, inventory.databases)))}.",
            code="database_not_in_dump",
        )
    searched = inventory.databases if database is None else {database: inventory.databases[database]}
    found: dict[str, list[tuple[str, Name]]] = {}
    for text in names:
        found[text] = [(db, name) for db, catalog in searched.items() for name in _meant(text, catalog.tables)]
        if not found[text]:
            raise _unknown(text, [name for catalog in searched.values() for name in catalog.tables], attempted)
    by_database = [{db for db, _rest in matches} for matches in found.values()]
    common = set.intersection(*by_database) if by_database else set()
    tables: list[Name] = []
    for text, matches in found.items():
        here = sorted({(db, name) for db, name in matches if db in common} or matches)
        if len(here) > 1 or len(common) != 1:
            raise PreconditionError(
                attempted,
                f"{text} may be any of {', '.join(f'{db}: {name}' if db else str(name) for db, name in here)}.",
                "Name the table with its schema, tables of one database at a time, and name the database"
                " when the dump has several.",
                code="table_ambiguous",
            )
        tables.append(here[0][1])
    (chosen_database,) = common
    catalog = inventory.databases[chosen_database]
    relations = catalog.wanted(tables)
    led_to = {name for table in relations for name in catalog.references.get(table, ())}
    return Choice(
        chosen_database,
        tuple(sorted(relations & catalog.tables)),
        frozenset(relations),
        tuple(sorted(led_to - relations)),
    )


def _meant(text: str, tables: Iterable[Name]) -> list[Name]:
    """The tables that go by `text`: as it is in SQL, or letter for letter."""
    parts = Words(text, 8, "").parts()
    return [
        name
        for name in tables
        if text in {name.relation, f"{name.schema}.{name.relation}"}
        or parts in ([name.relation], [name.schema, name.relation])
    ]


def _unknown(text: str, tables: list[Name], attempted: str) -> PreconditionError:
    spellings = {f"{name.schema}.{name.relation}": str(name) for name in tables}
    spellings.update({name.relation: str(name) for name in tables})
    near = difflib.get_close_matches(text, spellings, n=1, cutoff=0.5)
    hint = f"Did you mean {spellings[near[0]]}?" if near else "Look at the names of the tables in it."
    return PreconditionError(
        attempted,
        f"the dump has no table {text}.",
        hint,
        code="table_not_in_dump",
        table=text,
        tables=sorted(str(name) for name in tables)[:100],
    )


def extract(open_dump: Opener, choice: Choice, options: Options, attempted: str) -> Iterator[bytes]:
    """The chosen tables as a script for psql, without meta-commands and comments."""
    for each in statements(open_dump(), attempted):
        if each.effect and each.database == choice.database and _is_wanted(each.effect, choice, options):
            yield from each.pieces()


def _is_wanted(effect: Effect, choice: Choice, options: Options) -> bool:
    if effect.kind == SETTING:
        return True
    if effect.kind == AUTHORIZATION:
        return options.schema and options.privileges
    wanted = {
        CREATION: options.schema,
        DEFINITION: options.schema,
        OWNER: options.schema and options.owner,
        PRIVILEGE: options.schema and options.privileges,
        COPY: options.data,
        DATA: options.data,
    }.get(effect.kind, False)
    if not wanted or not effect.on or not choice.relations.issuperset(effect.on):
        return False
    return not effect.references or effect.references in choice.relations or options.foreign_keys_to_others
