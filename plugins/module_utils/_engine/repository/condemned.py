# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marks: what nobody needed, and since when.

Nothing is deleted that was not marked before, in a mark that is old enough, and that nobody needs
still. A mark is written once and removed when what it names is gone or was spared, so two who
collect at the same time cannot undo one another's.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from ..clock import Clock, parse_utc, utc_text
from ..errors import IntegrityError
from . import layout, manifest
from .stanza import Stanza


@dataclass(frozen=True)
class Mark:
    """Objects of a stanza, by their names below its folder, each with why nobody needed it."""

    name: str
    since: datetime
    objects: Mapping[str, str]


class Condemned:
    """The marks of one stanza."""

    def __init__(self, stanza: Stanza) -> None:
        self._stanza = stanza
        self._repository = stanza.repository
        self._folder = layout.condemned_folder(stanza.name)

    def all(self) -> list[Mark]:
        """Every mark, oldest first. One that is removed meanwhile is left out."""
        found = []
        for info in list(self._repository.store.list(self._folder)):
            try:
                found.append(self._read(info.name))
            except IntegrityError as error:
                if error.code != "object_missing":
                    raise
        return sorted(found, key=lambda mark: mark.since)

    def write(self, objects: Mapping[str, str], clock: Clock) -> Mark:
        """Mark these objects."""
        now = clock.now()
        mark = Mark(f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}", now, objects)
        with self._repository.store.writer(self._folder + mark.name) as writer:
            stream = self._repository.stream_writer(writer, "metadata", self._identity(mark.name))
            stream.write(_line({"since": utc_text(now)}))
            for name, why in sorted(objects.items()):
                stream.write(_line({"n": name, "w": why}))
            stream.finish()
            writer.commit()
        return mark

    def forget(self, marks: Iterable[Mark]) -> None:
        """Remove marks that have served."""
        for mark in marks:
            self._repository.store.delete(self._folder + mark.name)

    def _read(self, name: str) -> Mark:
        short = name[len(self._folder) :]
        pieces = self._repository.read_stream(name, "metadata", self._identity(short))
        head, *rest = (json.loads(line) for line in manifest.lines(pieces))
        return Mark(short, parse_utc(head["since"]), {each["n"]: each["w"] for each in rest})

    def _identity(self, name: str) -> str:
        return layout.identity("stanza", self._stanza.name, "condemned", name)


def _line(value: Mapping[str, str]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"
