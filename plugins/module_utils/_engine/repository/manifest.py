# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup's manifest: the complete picture of what it holds, one JSON object per line.

The first line is the header and has a frame of its own, so that lists need to read only that.
Then one line per directory and file. The sealed stream around it cannot be cut short unnoticed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Union

from ..errors import UnsupportedError
from ..retention_policy import DEFAULT_CLASS
from .packs import PlacedFrame
from .records import record
from .sealed import Frame

FORMAT = 1
SET_FORMAT = 2  # readers that know physical backups only must not take another kind for one
PHYSICAL = "physical"


@dataclass(frozen=True)
class Chunk:
    """A run of a file's bytes: part of one frame."""

    placed: PlacedFrame
    start: int  # in the frame's raw bytes
    length: int


@dataclass(frozen=True)
class FileEntry:
    """A regular file of the cluster. `area` is `data` or, for configuration kept elsewhere, `config`.

    A large relation file has a block map, maybe with changes to it, and its pages are where that
    says. Every other file has its chunks here, and the digest of its content. `map_packs` are the
    packs that the map names, so that nobody has to read it to know what a backup needs; None when
    that is not known.
    """

    path: str
    size: int
    mtime_ns: int
    mode: int
    area: str = "data"
    digest: str = ""
    chunks: tuple[Chunk, ...] = ()
    block_map: tuple[PlacedFrame, ...] = ()
    map_changes: tuple[PlacedFrame, ...] = ()
    map_packs: tuple[str, ...] | None = None
    unproven: tuple[int, ...] = ()  # pages that did not look good, for whatever reason

    def packs(self) -> list[str]:
        """The packs that are named here, in order of their first use."""
        placed = [*(chunk.placed for chunk in self.chunks), *self.block_map, *self.map_changes]
        return list(dict.fromkeys(place.pack for place in placed))

    def needed_packs(self) -> set[str] | None:
        """All packs without which the file cannot be read; None when only the block map knows."""
        if self.block_map and self.map_packs is None:
            return None
        return {*self.packs(), *(self.map_packs or ())}


@dataclass(frozen=True)
class DirectoryEntry:
    """A directory below the data directory, empty ones included."""

    path: str
    mode: int


Entry = Union[FileEntry, DirectoryEntry]


@dataclass(frozen=True)
class Header:
    """What a list of backups needs to know, and what a restore decides by."""

    backup_id: str
    stanza: str
    backup_type: str
    generation: str
    parent: str | None
    incarnation: str
    system_identifier: int
    server_version: int
    major_version: int
    timeline: int
    start_lsn: int
    stop_lsn: int
    wal_segment_bytes: int
    started: str
    finished: str
    stop_time: str
    data_checksums: bool
    control_file: str  # base64; read after every other file, written last
    backup_label: str
    tablespaces: dict[str, str] = field(default_factory=dict)
    file_count: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0
    damaged_pages: int = 0
    annotations: dict[str, str] = field(default_factory=dict)
    engine_version: str = ""
    method: str = "files"  # or `stream`: with times that are cut to seconds
    backup_class: str = DEFAULT_CLASS
    format: int = FORMAT


@dataclass(frozen=True)
class Member:
    """One thing that a set of another kind than physical holds: a database, the roles, a file."""

    kind: str  # `database` or `globals`
    name: str
    paths: tuple[str, ...]  # of its files in the manifest
    form: str  # how its content is written: `custom`, `plain`
    as_of: str  # the moment whose state it shows
    server_bytes: int = 0  # how large it was on the server
    options: dict[str, Any] = field(default_factory=dict)  # what of it was chosen
    properties: dict[str, Any] = field(default_factory=dict)  # a database's own, such as its encoding


@dataclass(frozen=True)
class SetHeader:
    """The same for a backup of another kind, which needs no WAL: its members, each with a moment of its own."""

    backup_id: str
    stanza: str
    kind: str
    backup_type: str
    generation: str
    parent: str | None
    started: str
    finished: str
    members: tuple[Member, ...]
    server_version: int = 0
    file_count: int = 0
    raw_bytes: int = 0
    stored_bytes: int = 0
    annotations: dict[str, str] = field(default_factory=dict)
    engine_version: str = ""
    backup_class: str = DEFAULT_CLASS
    format: int = SET_FORMAT

    @property
    def subject(self) -> str:
        """What it is a backup of; one of other things never stands in for it."""
        return ", ".join([self.kind, *sorted(f"{member.kind} {member.name}" for member in self.members)])


AnyHeader = Union[Header, SetHeader]


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode("ascii") + b"\n"


def render_header(header: AnyHeader) -> bytes:
    """The first line."""
    return _line(asdict(header))


def parse_header(line: bytes) -> AnyHeader:
    """Read the first line; refuse a format newer than this engine."""
    data = json.loads(line)
    if data["format"] > SET_FORMAT:
        raise UnsupportedError(
            f"reading the manifest of backup {data.get('backup_id')}",
            f"its format {data['format']} is newer than this Lifeboat understands ({SET_FORMAT}).",
            "Update Lifeboat on this host.",
            code="format_too_new",
        )
    if data["format"] == FORMAT:
        return record(Header, data)
    members = tuple(record(Member, {**each, "paths": tuple(each["paths"])}) for each in data["members"])
    return record(SetHeader, {**data, "members": members})


def render_entry(entry: Entry) -> bytes:
    """One line of the list."""
    if isinstance(entry, DirectoryEntry):
        return _line({"d": entry.path, "o": entry.mode})
    packs = entry.packs()

    def place(placed: PlacedFrame) -> list[int]:
        return [packs.index(placed.pack), placed.frame.number, placed.frame.offset, placed.frame.length]

    line: dict[str, Any] = {"f": entry.path, "s": entry.size, "m": entry.mtime_ns, "o": entry.mode, "p": packs}
    if entry.area != "data":
        line["a"] = entry.area
    if entry.map_packs is not None:
        line["q"] = entry.map_packs
    if entry.unproven:
        line["u"] = entry.unproven
    if entry.block_map:
        line["b"] = [place(placed) for placed in entry.block_map]
        if entry.map_changes:
            line["n"] = [place(placed) for placed in entry.map_changes]
    else:
        line["x"] = entry.digest
        line["c"] = [[*place(chunk.placed), chunk.start, chunk.length] for chunk in entry.chunks]
    return _line(line)


def parse_entry(line: bytes) -> Entry:
    """Read one line of the list."""
    data = json.loads(line)
    if "d" in data:
        return DirectoryEntry(data["d"], data["o"])
    packs = data["p"]

    def placed(pack: int, number: int, offset: int, length: int) -> PlacedFrame:
        return PlacedFrame(packs[pack], Frame(number, offset, length))

    return FileEntry(
        path=data["f"],
        size=data["s"],
        mtime_ns=data["m"],
        mode=data["o"],
        area=data.get("a", "data"),
        digest=data.get("x", ""),
        chunks=tuple(Chunk(placed(*chunk[:4]), *chunk[4:]) for chunk in data.get("c", ())),
        block_map=tuple(placed(*place) for place in data.get("b", ())),
        map_changes=tuple(placed(*place) for place in data.get("n", ())),
        map_packs=tuple(data["q"]) if "q" in data else None,
        unproven=tuple(data.get("u", ())),
    )


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a stream of bytes into lines, whatever its pieces."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest
