# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the archives that a server sends to files for the workers.

One thread takes the stream apart and hands files over; workers check, compare, compress and seal
them at the same time. Of a large file the beginning is worked on while its end is on its way. At
most 32 MiB wait in between, so a slow repository makes the server wait and not memory grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ..clock import Clock
from ..errors import IntegrityError
from ..ports import ProgressSink
from ..postgres import control_file, data_directory
from ..postgres.base_backup import Tablespace
from ..report.events import Warned
from ..repository.manifest import DirectoryEntry, render_entry
from ..wal_spool import CLAIM_FILE
from .cluster_reader import SourceFile
from .content import Handover, StreamContent
from .entry_spool import EntrySpool
from .path_index import PathIndex
from .tar_stream import Member, MemberKind, TarReader

_ATTEMPTED = "reading the server's base backup"
_WAITING_BYTES = 32 << 20
_PIECE_BYTES = 1 << 20
_BACKUP_LABEL = "backup_label"
_IN_PLACE_MODE = 0o700

Archives = Iterable[tuple[Tablespace, Iterator[memoryview]]]


class StreamFiles:
    """Takes archives apart. Afterwards it knows what else they brought."""

    def __init__(self, index: PathIndex, spool: EntrySpool, clock: Clock, sink: ProgressSink) -> None:
        self._index = index
        self._spool = spool
        self._clock = clock
        self._sink = sink
        self._paths = 0
        self._handover = Handover(_WAITING_BYTES)
        self.failed = self._handover.failed  # set when workers have failed
        self.tablespaces: dict[str, str] = {}
        self.backup_label = self.claim = ""
        self.control = b""
        self.has_configuration = False
        # How far the server's clock is ahead of ours, in seconds, as far as one second tells.
        self.clock_ahead = 0.0

    def sources(self, archives: Archives) -> Iterator[SourceFile]:
        """Every file to be read; the caller must take one before the next comes."""
        for tablespace, pieces in archives:
            reader = TarReader(pieces, _ATTEMPTED)
            prefix = self._begin(tablespace)
            for member in reader.members():
                path = prefix + _checked(member.name)
                if member.kind is MemberKind.FILE and not prefix and self._keep(path, member, reader):
                    continue
                if not data_directory.belongs(path):
                    continue
                if member.kind is MemberKind.DIRECTORY:
                    self._directory(path, member.mode)
                elif member.kind is MemberKind.FILE:
                    yield from self._file(path, member, reader)
                    if self.failed.is_set():
                        return
                else:
                    self._sink.emit(Warned(f"the symbolic link {path} is not included"))
        self._require_whole()

    def _begin(self, tablespace: Tablespace) -> str:
        """Note a tablespace; what its paths begin with."""
        if tablespace.oid is None:
            return ""
        path = f"{data_directory.TABLESPACES}/{tablespace.oid}"
        if tablespace.location.startswith("/"):
            self.tablespaces[tablespace.oid] = tablespace.location
        else:  # in place: a directory instead of a link
            self._directory(path, _IN_PLACE_MODE)
        return f"{path}/"

    def _keep(self, path: str, member: Member, reader: TarReader) -> bool:
        """Whether this is one of the few files that are read and not stored among the others."""
        if path == _BACKUP_LABEL:
            self.clock_ahead = member.mtime - self._clock.now().timestamp()  # the server has just made it
            self.backup_label = b"".join(reader.content()).decode("utf-8", "surrogateescape")
        elif path == CLAIM_FILE:
            self.claim = b"".join(reader.content()).decode("ascii", "replace")
        elif path == control_file.CONTROL_FILE:
            self.control = b"".join(reader.content())
        else:
            self.has_configuration |= path == "postgresql.conf"
            return False
        return True

    def _directory(self, path: str, mode: int) -> None:
        self._spool.add(self._index.arrive(path), render_entry(DirectoryEntry(path, mode)))

    def _file(self, path: str, member: Member, reader: TarReader) -> Iterator[SourceFile]:
        content = StreamContent(self._handover, member.size, member.mtime * 10**9, member.mode & 0o777)
        source = SourceFile(
            self._index.arrive(path), Path(path), path, previous=self._index.file(path), content=content
        )
        if member.size <= _PIECE_BYTES:
            # Whole before anybody waits for it: a worker that took it earlier would only sleep.
            if content.give(memoryview(b"".join(reader.content()))):
                yield source
            return
        yield source
        for piece in _joined(reader.content()):
            if not content.give(piece):
                return

    def _require_whole(self) -> None:
        missing = None
        if not self.backup_label:
            missing = _BACKUP_LABEL
        elif not self.control:
            missing = control_file.CONTROL_FILE
        if missing is not None:
            raise IntegrityError(
                _ATTEMPTED,
                f"the server did not send {missing}.",
                "Report this with the server's exact version.",
                code="base_backup_incomplete",
            )


def _joined(pieces: Iterable[memoryview]) -> Iterator[memoryview]:
    """The same bytes in larger pieces: each costs a change of threads."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        if len(buffer) >= _PIECE_BYTES:
            yield memoryview(buffer)
            buffer = bytearray()
    if buffer:
        yield memoryview(buffer)


def _checked(name: str) -> str:
    """A member's path below the data directory or the tablespace."""
    path = name[2:] if name.startswith("./") else name
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise IntegrityError(
            _ATTEMPTED,
            f"the archive names the path {name!r}, which leaves the data directory.",
            "Find out what alters the data between the server and this host.",
            code="tar_path_invalid",
        )
    return path
