# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a statement of pg_dump's does, and to which table it belongs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .sql_words import STRING, WORD, Name, Words

# What a statement is about.
SETTING = "setting"  # for all that follows
AUTHORIZATION = "authorization"  # who grants what follows
CREATION = "creation"  # makes the table or sequence
DEFINITION = "definition"  # any other part of what it is
OWNER = "owner"
PRIVILEGE = "privilege"
COPY = "copy"  # rows follow
DATA = "data"
OTHER = "other"  # of no table, or not to be repeated: drops, transactions

_NEXTVAL = re.compile(r"nextval\(\s*'((?:[^']|'')+)'")
_FEW = 64
_MANY = 20000  # GRANT names columns, CREATE TABLE names sequences


@dataclass(frozen=True)
class Effect:
    """A statement's meaning.

    `on` are the relations that must be wanted for it to be wanted; `index` is one it makes on the
    first of them. `owned` is a sequence that belongs to that one, `uses` are others its defaults
    need; `parent` is what it is a partition of; `references` is a foreign key's other end.
    """

    kind: str
    on: tuple[Name, ...] = ()
    is_sequence: bool = False
    index: Name | None = None
    owned: Name | None = None
    uses: tuple[Name, ...] = ()
    parent: Name | None = None
    references: Name | None = None


NOTHING = Effect(OTHER)


def effect_of(text: str, default_schema: str) -> Effect:
    """The meaning of a statement, given its beginning."""
    words = Words(text, _FEW, default_schema)
    first = words.take()
    if first.kind != WORD:
        return NOTHING
    if first.text in {"set", "reset"}:
        return _setting(words)
    if first.text == "select":
        return _select(words)
    if first.text == "copy":
        return _on(COPY, words.name()) if re.search(r"\bFROM\s+STDIN\b", text, re.I) else NOTHING
    if first.text == "insert":
        return _on(DATA, words.name()) if words.skip("into") else NOTHING
    if first.text not in {"create", "alter", "comment", "security", "grant", "revoke"}:
        return NOTHING
    words = Words(text, _MANY, default_schema)
    words.take()
    if first.text == "create":
        return _create(words, text, default_schema)
    if first.text == "alter":
        return _alter(words, text, default_schema)
    if first.text in {"grant", "revoke"}:
        return _grant(words)
    words.go_to("on")
    return _remark(words)


def _on(kind: str, *names: Name | None) -> Effect:
    found = tuple(name for name in names if name)
    return Effect(kind, found) if len(found) == len(names) else NOTHING


def _setting(words: Words) -> Effect:
    return Effect(AUTHORIZATION if words.skip("session", "authorization") else SETTING)


def _select(words: Words) -> Effect:
    """`SELECT pg_catalog.set_config(...)` or `SELECT pg_catalog.setval('public.s', 7, true)`."""
    function = words.parts()[-1:]
    if function == ["set_config"]:
        return Effect(SETTING)
    if function == ["setval"]:
        words.take()
        name = words.in_string()
        return Effect(DATA, (name,), is_sequence=True) if name else NOTHING
    return NOTHING


def _create(words: Words, text: str, default_schema: str) -> Effect:
    words.skip_any("unlogged", "foreign", "unique", "constraint", "global", "local")
    if words.skip("table"):
        words.skip("if", "not", "exists")
        name = words.name()
        return Effect(CREATION, (name,), uses=_used(text, default_schema)) if name else NOTHING
    if words.skip("sequence"):
        words.skip("if", "not", "exists")
        name = words.name()
        return Effect(CREATION, (name,), is_sequence=True) if name else NOTHING
    if words.skip("index"):
        words.skip("concurrently")
        words.skip("if", "not", "exists")
        index = "" if words.peek().text == "on" and words.peek().kind == WORD else words.parts()[-1]
        if not words.go_to("on"):
            return NOTHING
        words.skip("only")
        table = words.name()
        return Effect(DEFINITION, (table,), index=Name(table.schema, index)) if table else NOTHING
    for what, before in (("trigger", "on"), ("policy", "on"), ("rule", "to"), ("statistics", "from")):
        if words.skip(what):
            words.parts()
            return _on(DEFINITION, words.name()) if words.go_to(before) else NOTHING
    return NOTHING


def _used(text: str, default_schema: str) -> tuple[Name, ...]:
    """The sequences that defaults take their values from."""
    found = (Words(each.replace("''", "'"), 8, default_schema).name() for each in _NEXTVAL.findall(text))
    return tuple(name for name in found if name)


def _alter(words: Words, text: str, default_schema: str) -> Effect:
    words.skip("foreign")
    if words.skip("sequence"):
        words.skip("if", "exists")
        name = words.name()
        if name is None:
            return NOTHING
        if words.skip("owned", "by"):
            table = words.column_owner()
            return Effect(DEFINITION, (table,), owned=name) if table else NOTHING
        return Effect(OWNER if words.skip("owner", "to") else DEFINITION, (name,), is_sequence=True)
    if words.skip("index"):
        words.skip("if", "exists")
        name = words.name()
        other = words.name() if words.skip("attach", "partition") else None
        return _on(DEFINITION, name, other) if other else _on(DEFINITION, name)
    if not words.skip("table"):
        return NOTHING
    words.skip("if", "exists")
    words.skip("only")
    table = words.name()
    return _alter_table(words, table, text, default_schema) if table else NOTHING


def _alter_table(words: Words, table: Name, text: str, default_schema: str) -> Effect:
    if words.skip("owner", "to"):
        return Effect(OWNER, (table,))
    if words.skip("attach", "partition"):
        partition = words.name()
        return Effect(DEFINITION, (table, partition), parent=table) if partition else NOTHING
    if words.skip("drop"):
        return NOTHING
    for switch in ("enable", "disable"):
        if words.skip(switch, "trigger", "all"):  # what --disable-triggers puts around the rows
            return Effect(DATA, (table,))
    if words.skip("alter"):
        words.skip("column")
        words.take()
        if words.skip("add", "generated") and words.go_to_inside("sequence"):
            words.skip("name")
            return Effect(DEFINITION, (table,), owned=words.name())
        return Effect(DEFINITION, (table,), uses=_used(text, default_schema))
    if words.skip("add", "constraint"):
        name = words.parts()[-1]
        if words.skip("foreign", "key"):
            words.go_to("references")
            return Effect(DEFINITION, (table,), references=words.name())
        with_index = words.skip("primary") or words.skip("unique") or words.skip("exclude")
        return Effect(DEFINITION, (table,), index=Name(table.schema, name) if with_index else None)
    return Effect(DEFINITION, (table,))


def _grant(words: Words) -> Effect:
    if not words.go_to("on"):
        return NOTHING
    is_sequence = words.skip("sequence")
    if not is_sequence and not words.skip("table"):
        following = words.parts()
        token = words.peek()
        # GRANT ... ON name TO; anything else in between is a kind of object: ON SCHEMA name TO
        is_relation = following and token.kind == WORD and token.text in {"to", "from"}
        name = words.named(following) if is_relation else None
        return Effect(PRIVILEGE, (name,)) if name else NOTHING
    name = words.name()
    return Effect(PRIVILEGE, (name,), is_sequence=is_sequence) if name else NOTHING


def _remark(words: Words) -> Effect:
    """`COMMENT ON` or `SECURITY LABEL ... ON` something, whose kind comes next."""
    words.skip("foreign")
    if words.skip("table") or words.skip("index") or words.skip("sequence"):
        return _on(DEFINITION, words.name())
    if words.skip("column"):
        return _on(DEFINITION, words.column_owner())
    for kind in ("constraint", "trigger", "rule", "policy"):
        if words.skip(kind):
            words.take()
            if not words.skip("on") or words.skip("domain"):
                return NOTHING
            return _on(DEFINITION, words.name())
    return NOTHING


def setting(text: str) -> tuple[str, str] | None:
    """Name and first value of a `SET` or of `set_config`; nothing for others."""
    words = Words(text, 16, "")
    if words.skip("set"):
        words.skip_any("session", "local")
        name = ".".join(words.parts())
        words.take()
        return (name, words.take().text) if name else None
    if words.skip("select"):
        words.parts()
        words.take()
        name_token, _rest, value = words.take(), words.take(), words.take()
        return (name_token.text, value.text) if name_token.kind == STRING else None
    return None
