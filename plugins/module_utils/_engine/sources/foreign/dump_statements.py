# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The statements of a dump with their meaning: which database and schema they are in, and what settings change."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ...errors import UnsupportedError
from .sql_effects import COPY, NOTHING, SETTING, Effect, effect_of, setting
from .sql_script import MetaCommand, Script, Statement

CONNECTED = "connected"
STATEMENT = "statement"

_CONNECT = re.compile(r"\\c(?:onnect)?\s+(.*)")
_LAST_WORD = re.compile(r"""("(?:[^"]|"")*"|'(?:[^']|'')*'|[^\s"']+)\s*$""")
_INSERT = re.compile(rb'INSERT INTO (?:"(?:[^"]|"")*"|[^\s"(])+')
_DBNAME = re.compile(r"dbname=('(?:[^'\\]|\\.)*'|\S+)")

# PostgreSQL's names of encodings, and Python's; others have names of tables in ASCII only.
_ENCODINGS = {
    "utf8": "utf-8",
    "unicode": "utf-8",
    "latin1": "iso8859-1",
    "latin2": "iso8859-2",
    "latin9": "iso8859-15",
    "win1250": "cp1250",
    "win1251": "cp1251",
    "win1252": "cp1252",
    "koi8r": "koi8-r",
    "euc_jp": "euc_jp",
    "euc_kr": "euc_kr",
    "euc_cn": "gb2312",
}
# Their letters may end with a byte that is a backslash or a quote in ASCII.
_UNSAFE = {"big5", "gbk", "gb18030", "sjis", "shift_jis_2004", "uhc", "johab"}


class DumpStatement:
    """A statement and its meaning; without one it is the beginning of another database."""

    def __init__(self, kind: str, database: str, effect: Effect | None = None, body: Iterable[bytes] = ()) -> None:
        self.kind = kind
        self.database = database
        self.effect = effect
        self._body = body

    def pieces(self) -> Iterable[bytes]:
        """Its bytes, once, with the rows that follow it."""
        return self._body


def statements(pieces: Iterable[bytes], attempted: str) -> Iterator[DumpStatement]:
    """Every statement of a dump, in order; none waits for the one before to be read."""
    script = Script(pieces, attempted)
    database, schema, encoding = "", "public", "utf-8"
    last_insert = (b"", "", "", NOTHING)  # rows of one table follow each other
    for each in script:
        if isinstance(each, MetaCommand):
            connected = _connected_to(each.line.decode(encoding, "surrogateescape"))
            if connected is not None:
                database, schema, encoding, script.backslashes = connected, "public", "utf-8", False
                yield DumpStatement(CONNECTED, database)
            continue
        insert = _INSERT.match(each.head)
        head = insert.group() if insert else each.head
        if not insert or (head, schema, encoding) != last_insert[:3]:
            text = head.decode(encoding, "surrogateescape")
            effect = effect_of(text, schema)
            last_insert = (head, schema, encoding, effect)
        else:
            effect = last_insert[3]
        if effect.kind == SETTING:
            name, value = setting(text) or ("", "")
            if name == "search_path":
                schema = value.split(",")[0].strip().strip('"') or "public"
            elif name == "standard_conforming_strings":
                script.backslashes = value.lower() in {"off", "false", "no", "0"}
            elif name == "client_encoding":
                encoding = _encoding(value, attempted)
        if effect.kind != COPY:
            yield DumpStatement(STATEMENT, database, effect, _with_end_of_line(each))
            continue
        rows = _rows(each, script)
        yield DumpStatement(STATEMENT, database, effect, rows)
        for _rest in rows:  # whoever did not want the rows goes past them
            pass


def _with_end_of_line(statement: Statement) -> Iterator[bytes]:
    yield from statement.pieces()
    yield b"\n"


def _rows(statement: Statement, script: Script) -> Iterator[bytes]:
    yield from statement.pieces()
    yield b"\n"
    yield from script.copy_data()
    yield b"\\.\n"


def _connected_to(line: str) -> str | None:
    """The database that a meta-command goes to, if it goes to one."""
    command = _CONNECT.match(line)
    last = _LAST_WORD.search(command.group(1)) if command else None
    if not last:
        return None
    word = last.group(1)
    if word.startswith('"'):
        word = word[1:-1].replace('""', '"')
    elif word.startswith("'"):
        word = word[1:-1].replace("''", "'")
    named = _DBNAME.search(word)
    if named is None:
        return word
    name = named.group(1)
    return re.sub(r"\\(.)", r"\1", name[1:-1]) if name.startswith("'") else name


def _encoding(name: str, attempted: str) -> str:
    plain = name.lower().replace("-", "")
    if plain in _UNSAFE:
        raise UnsupportedError(
            attempted,
            f"the dump is written in {name}, whose letters cannot be told from quotes without decoding them.",
            "Restore all of it with psql, or make the dump again with --encoding=UTF8.",
            code="dump_encoding_unsupported",
        )
    return _ENCODINGS.get(plain, "utf-8")
