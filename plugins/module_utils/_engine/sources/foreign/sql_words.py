# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words and names in an SQL statement."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

WORD, QUOTED, STRING, SIGN = "word", "quoted", "string", "sign"

_TOKEN = re.compile(
    r"""
    (?P<space>\s+ | --[^\n]* | /\*.*?\*/)
    | "(?P<quoted>(?:[^"]|"")*)"
    | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*')
    | '(?P<string>(?:[^']|'')*)'
    | (?P<dollar>\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?\$(?P=tag)\$)
    | (?P<word>[^\W\d][\w$]*)
    | (?P<sign>\d[\w.]* | .)
    """,
    re.S | re.X,
)
_UPPER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")  # PostgreSQL folds no others


@dataclass(frozen=True)
class Token:
    """A word (in lower case), a name in quotes, a string, or anything else."""

    kind: str
    text: str

    @property
    def is_name(self) -> bool:
        """Whether it can be a name or a part of one."""
        return self.kind in {WORD, QUOTED}


@dataclass(frozen=True, order=True)
class Name:
    """A table's, sequence's or index's name, with its schema."""

    schema: str
    relation: str

    def __str__(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.relation)}"


def quoted(identifier: str) -> str:
    """As it stands in SQL: in quotes where it needs them."""
    return identifier if re.fullmatch(r"[a-z_][a-z0-9_]*", identifier) else '"' + identifier.replace('"', '""') + '"'


def tokens(text: str, limit: int) -> list[Token]:
    """The first `limit` tokens."""
    return list(islice(_tokens(text), limit))


def _tokens(text: str) -> Iterator[Token]:
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "quoted":
            yield Token(QUOTED, match["quoted"].replace('""', '"'))
        elif kind == "string":
            yield Token(STRING, match["string"].replace("''", "'"))
        elif kind == "escaped":
            yield Token(STRING, match["escaped"][2:-1].replace("''", "'").replace("\\\\", "\\"))
        elif kind == "word":
            yield Token(WORD, match["word"].translate(_UPPER))
        elif kind in {"dollar", "tag"}:
            yield Token(STRING, match.group())
        elif kind == "sign":
            yield Token(SIGN, match.group())


class Words:
    """Tokens that are read one by one."""

    def __init__(self, text: str, limit: int, default_schema: str) -> None:
        self._tokens = tokens(text, limit)
        self._at = 0
        self._default_schema = default_schema

    def peek(self) -> Token:
        """The next token; an empty one at the end."""
        return self._tokens[self._at] if self._at < len(self._tokens) else Token(SIGN, "")

    def take(self) -> Token:
        """The next token, passed."""
        token = self.peek()
        self._at += 1
        return token

    def skip(self, *words: str) -> bool:
        """Pass these words if all of them come next."""
        following = self._tokens[self._at : self._at + len(words)]
        if [(token.kind, token.text) for token in following] != [(WORD, word) for word in words]:
            return False
        self._at += len(words)
        return True

    def skip_any(self, *words: str) -> None:
        """Pass as many of these words as come next."""
        while any(self.skip(word) for word in words):
            pass

    def go_to(self, *words: str) -> bool:
        """Pass everything up to and including the next of these words outside parentheses."""
        depth = 0
        while self._at < len(self._tokens):
            token = self.take()
            if token.kind == SIGN:
                depth += (token.text == "(") - (token.text == ")")
            elif token.kind == WORD and token.text in words and not depth:
                return True
        return False

    def go_to_inside(self, word: str) -> bool:
        """Pass everything up to and including the next `word`, wherever it is."""
        while self._at < len(self._tokens):
            token = self.take()
            if token.kind == WORD and token.text == word:
                return True
        return False

    def parts(self) -> list[str]:
        """The parts of the dotted name that comes next."""
        found: list[str] = []
        while self.peek().is_name:
            found.append(self.take().text)
            if self.peek().text != "." or self.peek().kind != SIGN:
                break
            self.take()
        return found

    def name(self) -> Name | None:
        """The name that comes next."""
        return self.named(self.parts())

    def column_owner(self) -> Name | None:
        """The table of the column whose name comes next."""
        return self.named(self.parts()[:-1])

    def named(self, parts: list[str]) -> Name | None:
        """The name with these parts."""
        if not parts:
            return None
        return Name(parts[-2] if len(parts) > 1 else self._default_schema, parts[-1])

    def in_string(self) -> Name | None:
        """The name in the string that comes next: `'public.orders_id_seq'`."""
        token = self.take()
        return Words(token.text, 8, self._default_schema).name() if token.kind == STRING else None
