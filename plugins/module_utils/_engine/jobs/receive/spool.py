# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The directory in which a receiver keeps WAL until every repository has it.

    spool.json            whose WAL this is
    status.json           how receiving goes, for whoever asks
    pg_receivewal.log     what the program says
    pg_wal/               where it writes: finished segments, the unfinished one with `.partial`, histories
    pg_wal/lifeboat/      the lock, and what optional repositories lack
    aside/                WAL that a failover or an upgrade has left behind, for people

Where pg_receivewal begins it reads off these names: behind the newest segment, or with the newest partial.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ... import durable
from ...background import make_folders
from ...clock import Clock
from ...errors import IntegrityError, StorageError
from ...postgres.timeline_path import Path as Way
from ...postgres.wal_names import WalFileKind, WalSegment, classify, is_wal_file_name, parse_segment_name
from ...wal_spool import WalSpool, life_name

_PARTIAL = ".partial"
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class SpoolOwner:
    """The life whose WAL is in a spool."""

    stanza: str
    incarnation: str
    system_identifier: int
    major_version: int
    wal_segment_bytes: int


class ReceiveSpool:
    """One receiver's directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wal = root / "pg_wal"
        self.log = root / "pg_receivewal.log"
        self.status = root / "status.json"
        self.lock = root / "pg_wal/lifeboat/receive.lock"

    def make(self) -> None:
        """The directory, for nobody else."""
        try:
            durable.make_directories(self.root, 0o700)
            self.root.chmod(0o700)
            make_folders(str(self.wal), str(self.lock.parent))
        except OSError as exc:
            raise StorageError(
                f"making the spool {self.root}",
                f"{exc.strerror}: {exc.filename}.",
                "Make the directory for the user whom the receiver runs as, or set spool to another place.",
                code="spool_not_writable",
            ) from exc

    def debts(self, owner: SpoolOwner) -> WalSpool:
        """The part that says what optional repositories lack."""
        return WalSpool(str(self.root), life_name(owner.system_identifier, owner.incarnation))

    # --- whose it is

    def owner(self) -> SpoolOwner | None:
        """Whose WAL this is; None while it is nobody's."""
        try:
            return SpoolOwner(**json.loads((self.root / "spool.json").read_text(encoding="ascii")))
        except FileNotFoundError:
            return None

    def belong_to(self, owner: SpoolOwner) -> None:
        """Take it, or refuse one that has another cluster's WAL."""
        present = self.owner()
        if present is None:
            text = json.dumps(asdict(owner))
            durable.write_file(self.root / "spool.json", text.encode("ascii"), 0o600)
        elif present != owner:
            raise IntegrityError(
                f"using the spool {self.root}",
                f"it holds WAL of {present.stanza}, incarnation {present.incarnation}, system identifier"
                f" {present.system_identifier}; now it would be {owner.stanza}, {owner.incarnation},"
                f" {owner.system_identifier}.",
                "Let the earlier receiver finish, or move the directory away; then start this one with an empty spool.",
                code="spool_of_another_cluster",
            )

    def begin_anew(self, clock: Clock) -> dict[str, list[str]]:
        """Nobody's from now on, and empty: whose it was has all of it in the required repositories.

        What lies here yet is moved aside. Returns what optional repositories lack of it.
        """
        folder = self._new_folder(clock)
        for name in self._names():
            if is_wal_file_name(name):
                (self.wal / name).rename(folder / name)
        lacking, owed = {}, self.lock.parent / "owed"
        if owed.is_dir():
            for place in owed.iterdir():
                files = sorted(path.name for path in place.iterdir())
                if files:
                    lacking[place.name] = files
            owed.rename(folder / "owed")
        self._synced(folder)
        (self.root / "spool.json").unlink()
        durable.fsync_directory(self.root)
        return lacking

    # --- what is in it

    def histories(self) -> list[str]:
        """Names of timeline history files."""
        return [name for name in self._names() if classify(name) is WalFileKind.HISTORY]

    def finished(self, size: int) -> list[WalSegment]:
        """Whole segments, oldest first."""
        found = [parse_segment_name(name, size) for name in self._names() if classify(name) is WalFileKind.SEGMENT]
        return sorted(found, key=lambda each: (each.number, each.timeline))

    def partials(self, size: int) -> list[WalSegment]:
        """Unfinished segments, the present one last."""
        found = [parse_segment_name(name, size) for name in self._names() if classify(name) is WalFileKind.PARTIAL]
        return sorted(found, key=lambda each: (each.number, each.timeline))

    def next_segment(self, size: int) -> WalSegment | None:
        """The one that pg_receivewal would begin with; None when it could not know."""
        finished, partials = self.finished(size)[-1:], self.partials(size)[-1:]
        following = [WalSegment(each.timeline, each.number + 1, size) for each in finished]
        return max([*following, *partials], key=lambda each: (each.number, each.timeline), default=None)

    def path(self, segment: WalSegment, *, partial: bool = False) -> Path:
        """A segment's file."""
        return self.wal / (segment.name + (_PARTIAL if partial else ""))

    def beginning(self, segment: WalSegment) -> bytes:
        """What has come of an unfinished segment: everything up to its last byte that is not zero."""
        with self.path(segment, partial=True).open("rb") as stream:
            end = os.fstat(stream.fileno()).st_size
            while end:
                start = max(0, end - _PIECE_BYTES)
                stream.seek(start)
                piece = stream.read(end - start).rstrip(b"\0")
                if piece:
                    stream.seek(0)
                    return stream.read(start + len(piece))
                end = start
        return b""

    # --- changing it

    def seed(self, segment: WalSegment) -> None:
        """Have pg_receivewal begin with this segment, in every version."""
        path = self.path(segment, partial=True)
        if not path.exists():
            durable.write_file(path, b"", 0o600)

    def mend(self, size: int, clock: Clock) -> None:
        """Empty unfinished segments that pg_receivewal had no time, or no room, to lay out: it refuses other sizes.

        It lays a segment out with zeros before it writes there; one that has more than those is moved aside.
        """
        for segment in self.partials(size):
            path = self.path(segment, partial=True)
            if path.stat().st_size in (0, size):
                continue
            if self.beginning(segment):
                self.set_aside([segment], clock)
            durable.write_file(path, b"", 0o600)

    def remove(self, segment: WalSegment) -> None:
        """A segment that is durable elsewhere."""
        self.path(segment).unlink(missing_ok=True)

    def left_behind(self, way: Way, size: int) -> list[WalSegment]:
        """What is on no way to the server's timeline: from the segment on in which it left the one it came from."""
        found = []
        for segment in (*self.finished(size), *self.partials(size)):
            leg = way.leg(segment.timeline)
            if leg is None or (leg.end is not None and segment.number >= leg.end // size):
                found.append(segment)
        return found

    def set_aside(self, segments: list[WalSegment], clock: Clock) -> Path:
        """Move files where nobody uploads them; the folder."""
        folder = self._new_folder(clock)
        for segment in segments:
            for path in (self.path(segment), self.path(segment, partial=True)):
                with contextlib.suppress(FileNotFoundError):
                    path.rename(folder / path.name)
        self._synced(folder)
        return folder

    def _new_folder(self, clock: Clock) -> Path:
        folder = self.root / "aside" / clock.now().strftime("%Y%m%dT%H%M%S.%fZ")
        durable.make_directories(folder, 0o700)
        return folder

    def _synced(self, folder: Path) -> None:
        durable.fsync_directory(folder)
        durable.fsync_directory(self.wal)

    def say(self, values: dict[str, Any]) -> None:
        """Leave word for whoever asks how it goes; a full disk keeps nobody from receiving."""
        temporary = self.root / ".status.json"
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(values), encoding="utf-8")
            temporary.replace(self.status)

    def _names(self) -> list[str]:
        return os.listdir(self.wal)
