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
from .packs import PlacedFrame
from .sealed import Frame

FORMAT = 1


@dataclass(frozen=True)
class Chunk:
    """A run of a file's bytes: part of one frame."""

    placed: PlacedFrame
    start: int  # in the frame's raw bytes
    length: int


@dataclass(frozen=True)
class FileEntry:
    """A regular file of the cluster. `area` is `data` or, for configuration kept elsewhere, `config`."""

    path: str
    size: int
    mtime_ns: int
    mode: int
    sha256: str
    chunks: tuple[Chunk, ...]
    area: str = "data"


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
    format: int = FORMAT


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode("ascii") + b"\n"


def render_header(header: Header) -> bytes:
    """The first line."""
    return _line(asdict(header))


def parse_header(line: bytes) -> Header:
    """Read the first line; refuse a format newer than this engine."""
    data = json.loads(line)
    if data["format"] > FORMAT:
        raise UnsupportedError(
            f"reading the manifest of backup {data.get('backup_id')}",
            f"its format {data['format']} is newer than this Lifeboat understands ({FORMAT}).",
            "Update Lifeboat on this host.",
            code="format_too_new",
        )
    return Header(**data)


def render_entry(entry: Entry) -> bytes:
    """One line of the list."""
    if isinstance(entry, DirectoryEntry):
        return _line({"d": entry.path, "o": entry.mode})
    packs = list(dict.fromkeys(chunk.placed.pack for chunk in entry.chunks))
    chunks = [
        [
            packs.index(chunk.placed.pack),
            chunk.placed.frame.number,
            chunk.placed.frame.offset,
            chunk.placed.frame.length,
            chunk.start,
            chunk.length,
        ]
        for chunk in entry.chunks
    ]
    return _line(
        {
            "f": entry.path,
            "s": entry.size,
            "m": entry.mtime_ns,
            "o": entry.mode,
            "h": entry.sha256,
            "a": entry.area,
            "p": packs,
            "c": chunks,
        }
    )


def parse_entry(line: bytes) -> Entry:
    """Read one line of the list."""
    data = json.loads(line)
    if "d" in data:
        return DirectoryEntry(data["d"], data["o"])
    chunks = tuple(
        Chunk(PlacedFrame(data["p"][pack], Frame(number, offset, length)), start, size)
        for pack, number, offset, length, start, size in data["c"]
    )
    return FileEntry(data["f"], data["s"], data["m"], data["o"], data["h"], chunks, data["a"])


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a stream of bytes into lines, whatever its pieces."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest
