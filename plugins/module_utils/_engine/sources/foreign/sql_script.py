# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The statements of an SQL script, one after the other, as psql would take them apart.

A script is bytes; letters beyond ASCII stay what they are. Memory is bounded: of a long statement
there is the beginning, and the rest in pieces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from ...errors import IntegrityError, UnsupportedError

HEAD = 1 << 18  # how much of a statement is there at once
_MARGIN = 256  # no word, dollar quote or end of data is longer

_TOKEN = re.compile(
    rb"[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*"
    rb"|\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$"
    rb"|--|/\*|['\"();\\]"
)
_SPACE = re.compile(rb"\s*")
_FUNCTION = re.compile(rb"\s*CREATE\s+(?:OR\s+REPLACE\s+)?(?:FUNCTION|PROCEDURE)\b", re.I)
# An INSERT without comments, dollar quotes and escapes, which is nearly every one: passed at once.
_PLAIN_INSERT = re.compile(
    rb"INSERT INTO [^'\"$;\\/-]*(?:(?:(?<![eE])'[^']*'|\"[^\"]*\"|-(?!-)|/(?!\*))[^'\"$;\\/-]*)*;"
)
_BACKSLASHED = re.compile(rb"\\.|''|'", re.S)
_BLOCK_COMMENT = re.compile(rb"/\*|\*/")
_END_OF_COPY = re.compile(rb"\\\.\r?(?:\n|\Z)")
_NEXT_END_OF_COPY = re.compile(rb"\n\\\.\r?(?:\n|\Z)")
_END_SIZE = 5  # bytes: an end of line, backslash, dot, and another end of line


@dataclass(frozen=True)
class MetaCommand:
    """A line for psql, such as `\\connect app`, without its end."""

    line: bytes


class Statement:
    """A statement: its beginning, whether that is all, and what follows."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        head = bytearray()
        for piece in pieces:
            head += piece
            if len(head) >= HEAD:
                break
        self.head = bytes(head)

    def pieces(self) -> Iterator[bytes]:
        """All of it, once."""
        yield self.head
        yield from self._pieces


class Script:
    """A script that is read once, from its beginning to its end.

    `backslashes` says whether plain strings have escapes in them: who reads the statements sets it
    when one turns standard_conforming_strings off.
    """

    def __init__(self, pieces: Iterable[bytes], attempted: str) -> None:
        self.backslashes = False
        self._source = iter(pieces)
        self._attempted = attempted
        self._buffer = b""
        self._at = 0
        self._ended = False
        self._passed = 0  # how many bytes are not in the buffer any more

    def __iter__(self) -> Iterator[Statement | MetaCommand]:
        while self._skip_to_statement():
            if self._buffer[self._at : self._at + 1] == b"\\":
                yield MetaCommand(self._line())
                continue
            pieces = self._statement()
            yield Statement(pieces)
            for _rest in pieces:  # whoever did not want the rest goes past it
                pass

    def copy_data(self) -> Iterator[bytes]:
        """The rows behind a `COPY ... FROM stdin;` that was just read, without the line that ends them."""
        self._line()
        at_line_start = True
        while True:
            if len(self._buffer) - self._at <= _END_SIZE and not self._ended:
                self._fill()
                continue
            end = _END_OF_COPY.match(self._buffer, self._at) if at_line_start else None
            if end:
                self._at = end.end()
                return
            found = _NEXT_END_OF_COPY.search(self._buffer, self._at)
            if found and (self._ended or found.end() < len(self._buffer)):
                yield self._buffer[self._at : found.start() + 1]
                self._at = found.end()
                return
            if self._ended:
                self._broken_off("inside the rows of a table")
            passed = len(self._buffer) - _END_SIZE
            yield self._buffer[self._at : passed]
            self._at = passed
            at_line_start = self._buffer[passed - 1 : passed] == b"\n"

    def _fill(self) -> bool:
        """Read on, and forget what has been passed."""
        piece = next(self._source, None)
        self._passed += self._at
        self._buffer = self._buffer[self._at :] + (piece or b"")
        self._at = 0
        self._ended = piece is None
        return not self._ended

    def _line(self) -> bytes:
        while True:
            end = self._buffer.find(b"\n", self._at)
            if end >= 0:
                break
            if not self._fill():
                end = len(self._buffer)
                break
        line = self._buffer[self._at : end]
        self._at = min(end + 1, len(self._buffer))
        return line.rstrip(b"\r")

    def _skip_to_statement(self) -> bool:
        while True:
            if len(self._buffer) - self._at < _MARGIN and not self._ended:
                self._fill()
                continue
            space = _SPACE.match(self._buffer, self._at)
            self._at = space.end() if space else self._at
            if self._buffer.startswith(b"--", self._at):
                self._line()
            elif self._buffer.startswith(b"/*", self._at):
                self._at += 2
                for _rest in self._to_end_of_comment():
                    pass
            elif self._buffer.startswith(b";", self._at):
                self._at += 1
            elif self._at < len(self._buffer):
                return True
            elif self._ended:
                return False

    def _statement(self) -> Iterator[bytes]:
        """The bytes of the statement that begins here, its semicolon included."""
        plain = None if self.backslashes else _PLAIN_INSERT.match(self._buffer, self._at)
        if plain:
            self._at = plain.end()
            yield plain.group()
            return
        start, parentheses, blocks = self._at, 0, 0
        is_function = bool(_FUNCTION.match(self._buffer, self._at))
        while True:
            token = _TOKEN.search(self._buffer, self._at)
            limit = len(self._buffer) - (0 if self._ended else _MARGIN)
            if token is None or token.start() >= limit:
                self._at = max(self._at, limit if token is None else token.start())
                yield self._buffer[start : self._at]
                if self._ended and token is None:
                    self._broken_off("inside a statement")
                self._fill()
                start = self._at
                continue
            word, self._at = token.group(), token.end()
            if word == b";":
                if not parentheses and not blocks:
                    yield self._buffer[start : self._at]
                    return
            elif word == b"(":
                parentheses += 1
            elif word == b")":
                parentheses -= 1
            elif word == b"\\":
                self._not_understood("a backslash in the middle of a statement")
            else:
                kind = word.lower()
                if is_function and not parentheses and kind in {b"begin", b"case", b"end"}:
                    blocks = max(0, blocks - 1) if kind == b"end" else blocks + (kind == b"begin" or blocks > 0)
                inside = self._inside(word, kind)
                if inside is not None:
                    yield self._buffer[start : self._at]
                    yield from inside
                    start = self._at

    def _inside(self, word: bytes, kind: bytes) -> Iterator[bytes] | None:
        """What is to be passed behind the token `word`, if it opens something."""
        if word == b"'":
            return self._to_quote(b"'", self.backslashes)
        if word == b'"':
            return self._to_quote(b'"', False)
        if kind == b"e" and self._buffer.startswith(b"'", self._at):
            return self._to_quote(b"'", True, skip=1)
        if word == b"--":
            return self._to_quote(b"\n", False)
        if word == b"/*":
            return self._to_end_of_comment()
        return self._to_quote(word, False) if word.startswith(b"$") else None

    def _to_quote(self, end: bytes, backslashes: bool, skip: int = 0) -> Iterator[bytes]:
        """Up to the end of what is quoted. A doubled quote ends one string and begins the next, which is the same."""
        start = self._at
        self._at += skip
        while True:
            limit = len(self._buffer) - (0 if self._ended else _MARGIN)
            if backslashes:
                found = _BACKSLASHED.search(self._buffer, self._at)
                at, size = (found.start(), len(found.group())) if found else (-1, 0)
            else:
                at, size = self._buffer.find(end, self._at), len(end)
            if at < 0 or at >= limit:
                self._at = max(self._at, limit if at < 0 else at)
                yield self._buffer[start : self._at]
                if self._ended and at < 0:
                    self._broken_off("inside a quotation")
                self._fill()
                start = self._at
                continue
            ends = not backslashes or self._buffer[at : at + size] == b"'"
            self._at = at + size
            if ends:
                yield self._buffer[start : self._at]
                return

    def _to_end_of_comment(self) -> Iterator[bytes]:
        depth, start = 1, self._at
        while depth:
            found = _BLOCK_COMMENT.search(self._buffer, self._at)
            limit = len(self._buffer) - (0 if self._ended else _MARGIN)
            if found is None or found.start() >= limit:
                self._at = max(self._at, limit if found is None else found.start())
                yield self._buffer[start : self._at]
                if self._ended and found is None:
                    self._broken_off("inside a comment")
                self._fill()
                start = self._at
                continue
            depth += 1 if found.group() == b"/*" else -1
            self._at = found.end()
        yield self._buffer[start : self._at]

    def _broken_off(self, where: str) -> NoReturn:
        raise IntegrityError(
            self._attempted,
            f"the dump breaks off {where}, after {self._passed + len(self._buffer)} bytes.",
            "It was cut short, when it was made or copied. Take another copy, or another backup.",
            code="dump_truncated",
        )

    def _not_understood(self, what: str) -> NoReturn:
        raise UnsupportedError(
            self._attempted,
            f"it has {what}, near byte {self._passed + self._at}, which pg_dump does not write.",
            "Restore all of it with psql instead, or make the dump again.",
            code="dump_not_understood",
        )
