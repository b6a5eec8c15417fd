# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a plain dump begins and ends: pg_dump and pg_dumpall say in comments what they are, and that they are done."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

SIZE = 4096  # of beginning and end, each

_OPENING = re.compile(rb"^-- PostgreSQL database (cluster )?dump\s*$", re.M)
_CLOSING = re.compile(rb"^-- PostgreSQL database (cluster )?dump complete\s*$", re.M)
_SERVER = re.compile(rb"^-- Dumped from database version ([^\r\n]+)", re.M)
_PROGRAM = re.compile(rb"^-- Dumped by pg_dump version ([^\r\n]+)", re.M)


@dataclass(frozen=True)
class Opening:
    """What the beginning says; versions as they are written there."""

    of_cluster: bool
    server_version: str | None
    program_version: str | None


def opening(head: bytes) -> Opening | None:
    """What a dump's beginning says; nothing when it does not begin as a dump."""
    found = _OPENING.search(head)
    if found is None:
        return None
    versions = [each.search(head) for each in (_SERVER, _PROGRAM)]
    server, program = (match.group(1).decode("utf-8", "replace").strip() if match else None for match in versions)
    return Opening(bool(found.group(1)), server, program)


def is_complete(head: bytes, tail: bytes) -> bool | None:
    """Whether a dump ends as it began; None for a script that does not begin as a dump.

    In a dump of a cluster every database's own dump has an end, too.
    """
    begun = _OPENING.search(head)
    if begun is None:
        return None
    ends = _CLOSING.findall(tail)
    return bool(ends) and ends[-1] == (begun.group(1) or b"")


class Ends:
    """Watches the beginning and the end of what passes."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        self.head = b""
        self.tail = b""

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if len(self.head) < SIZE:
                self.head = (self.head + piece)[:SIZE]
            self.tail = piece[-SIZE:] if len(piece) >= SIZE else (self.tail + piece)[-SIZE:]
            yield piece

    @property
    def is_complete(self) -> bool | None:
        """See the function of this name."""
        return is_complete(self.head, self.tail)
