# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files of a data directory belong into a backup: those that PostgreSQL's own base backup takes.

The directory is read while the server works in it. Files that vanish meanwhile are normal, their
removal is in the WAL; a missing directory that no server can be without is an error.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ..errors import IntegrityError
from ..wal_spool import CLAIM_FILE
from . import control_file
from .control_file import CONTROL_FILE
from .instance import LOG_NAME
from .pages import PAGES_PER_SEGMENT

WAL_DIRECTORY = "pg_wal"
TABLESPACES = "pg_tblspc"

# No server can be without these and what is in them.
_REQUIRED_DIRECTORIES = (
    "base",
    "global",
    "pg_commit_ts",
    "pg_logical",
    "pg_multixact",
    TABLESPACES,
    "pg_twophase",
    WAL_DIRECTORY,
    "pg_xact",
)
# The server empties or rebuilds these when it starts.
_EMPTIED_DIRECTORIES = (
    "pg_dynshmem",
    "pg_notify",
    "pg_replslot",
    "pg_serial",
    "pg_snapshots",
    "pg_stat_tmp",
    "pg_subtrans",
)
_SERVER_DIRECTORIES = frozenset(_REQUIRED_DIRECTORIES + _EMPTIED_DIRECTORIES)
_WAL_SUBDIRECTORIES = ("archive_status", "summaries")
_EXCLUDED_NAMES = frozenset(
    {
        ".DS_Store",
        CLAIM_FILE,  # what is restored has to claim for itself
        LOG_NAME,
        "backup_label",
        "backup_manifest",
        "current_logfiles.tmp",
        "postgresql.auto.conf.tmp",
        "postmaster.opts",
        "postmaster.pid",
        "tablespace_map",
    }
)
_EXCLUDED_PREFIXES = ("pg_internal.init", "pgsql_tmp")

_DATABASE_DIRECTORY = re.compile(
    r"(?:base|pg_tblspc/(?P<tablespace>[1-9][0-9]*)/PG_[^/]+)/(?P<database>[1-9][0-9]*)", re.ASCII
)
_RELATION_FILE = re.compile(
    r"(?P<filenode>[1-9][0-9]{0,9})(?:_(?P<fork>fsm|vm|init))?(?:\.(?P<segment>[1-9][0-9]{0,9}))?", re.ASCII
)
_TEMPORARY_RELATION_FILE = re.compile(r"t[0-9]+_[0-9]+(?:_(?:fsm|vm|init))?(?:\.[0-9]+)?", re.ASCII)
_DEFAULT_TABLESPACE = 1663
_GLOBAL_TABLESPACE = 1664


class EntryKind(Enum):
    """What a backup does with an entry."""

    DIRECTORY = "directory"
    FILE = "file"
    SYMLINK = "symlink"


@dataclass(frozen=True)
class Entry:
    """One thing to back up; `path` is relative to the data directory, `mode` are the permission bits.

    `target` is where a symbolic link leads. A directory of the server's that is reached through a
    link, as `pg_wal` often is, is a directory here and has a target too.
    """

    kind: EntryKind
    path: str
    size: int
    mtime_ns: int
    mode: int
    target: str | None = None


class Fork(Enum):
    """The parts that a relation is stored in; the value is what a file's name says."""

    MAIN = ""
    FREE_SPACE_MAP = "fsm"
    VISIBILITY_MAP = "vm"
    INIT = "init"


@dataclass(frozen=True)
class RelationSegment:
    """A file of at most 1 GiB with pages of a relation. Relations of the whole cluster have database 0."""

    tablespace: int
    database: int
    filenode: int
    fork: Fork
    number: int

    @property
    def first_block(self) -> int:
        """The number that the file's first page has in the relation."""
        return self.number * PAGES_PER_SEGMENT


def relation_segment(path: str) -> RelationSegment | None:
    """What a path below the data directory holds of a relation; None for every other file."""
    directory, _slash, name = path.rpartition("/")
    file = _RELATION_FILE.fullmatch(name)
    if file is None:
        return None
    tablespace, database = _GLOBAL_TABLESPACE, 0
    if directory != "global":
        place = _DATABASE_DIRECTORY.fullmatch(directory)
        if place is None:
            return None
        tablespace, database = int(place["tablespace"] or _DEFAULT_TABLESPACE), int(place["database"])
    return RelationSegment(
        tablespace, database, int(file["filenode"]), Fork(file["fork"] or ""), int(file["segment"] or 0)
    )


def belongs(path: str) -> bool:
    """Whether a path belongs into a backup, as far as the path alone tells.

    For what a server has sent: it knows what is unlogged, and leaves that out itself.
    """
    directory, _slash, name = path.rpartition("/")
    parts = path.split("/")
    if any(part in _EXCLUDED_NAMES or part.startswith(_EXCLUDED_PREFIXES) for part in parts):
        return False
    if path == CONTROL_FILE or (directory and parts[0] in _EMPTIED_DIRECTORIES):
        return False
    if parts[0] == WAL_DIRECTORY and directory:
        return directory == WAL_DIRECTORY and name in _WAL_SUBDIRECTORIES
    return not (_DATABASE_DIRECTORY.fullmatch(directory) and _TEMPORARY_RELATION_FILE.fullmatch(name))


def scan(data_directory: Path, emptied: Collection[str] = ()) -> Iterator[Entry]:
    """Everything to back up, except `CONTROL_FILE`: that must be read after all others.

    A directory comes before what is in it. A tablespace is its link below `pg_tblspc`, then its
    directory for this very version of PostgreSQL, under a path that leads through the link. Other
    links are not followed. `emptied` names more directories to back up empty, such as a
    `stats_temp_directory` other than the usual one.
    """
    return _Scan(data_directory, emptied).entries()


def total_bytes(data_directory: Path) -> int:
    """How much there is to back up."""
    return sum(entry.size for entry in scan(data_directory) if entry.kind is EntryKind.FILE)


class _Scan:
    """One walk through a data directory. Its memory is bounded by the names in one directory."""

    def __init__(self, data_directory: Path, emptied: Collection[str]) -> None:
        self._root = os.path.realpath(data_directory)
        catalog_version = control_file.read(data_directory).catalog_version
        self._version_directory = f"PG_{control_file.version(data_directory)}_{catalog_version}"
        self._not_walked = {*_EMPTIED_DIRECTORIES, *emptied}
        self._missing_tablespaces: list[str] = []

    def entries(self) -> Iterator[Entry]:
        for name in _REQUIRED_DIRECTORIES:
            if not os.path.isdir(self._full(name)):
                raise self._incomplete(f"there is no directory {name} in it.")
        self._not_walked.update(self._tablespaces_inside())
        yield from self._walk("")
        for path in self._missing_tablespaces:  # unless dropped meanwhile
            if os.path.lexists(self._full(path)) and not os.path.isdir(self._full(self._inner(path))):
                raise self._incomplete(f"its tablespace {path} has no directory {self._version_directory}.")

    def _walk(self, directory: str) -> Iterator[Entry]:
        for name in self._names(directory):
            path = f"{directory}/{name}" if directory else name
            entry = None if path == CONTROL_FILE else self._entry(path)
            if entry is None:
                continue
            yield entry
            if path in self._not_walked:
                continue
            if path == WAL_DIRECTORY:
                yield from filter(None, (self._entry(f"{path}/{name}") for name in _WAL_SUBDIRECTORIES))
            elif directory == TABLESPACES and name.isdigit():
                yield from self._walk_tablespace(path)
            elif entry.kind is EntryKind.DIRECTORY:
                yield from self._walk(path)

    def _walk_tablespace(self, path: str) -> Iterator[Entry]:
        inner = self._entry(self._inner(path))
        if inner is None:
            self._missing_tablespaces.append(path)
        else:
            yield inner
            yield from self._walk(inner.path)

    def _names(self, directory: str) -> list[str]:
        """The names in a directory that belong into a backup."""
        try:
            names = os.listdir(self._full(directory))
        except FileNotFoundError as exc:
            if "/" in directory:
                return []
            raise self._incomplete(f"{directory or 'it'} vanished while it was read.") from exc
        except OSError as exc:
            raise control_file.unreadable(self._full(directory), exc) from exc
        if _DATABASE_DIRECTORY.fullmatch(directory):
            names = _permanent_relations(names)
        return sorted(name for name in names if name not in _EXCLUDED_NAMES and not name.startswith(_EXCLUDED_PREFIXES))

    def _entry(self, path: str) -> Entry | None:
        """What is at a path; None when it has vanished or is nothing to back up, such as a socket."""
        full = self._full(path)
        target = None
        try:
            status = os.lstat(full)
            if stat.S_ISLNK(status.st_mode):
                target = os.readlink(full)
                if path in _SERVER_DIRECTORIES:
                    status = os.stat(full)
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise control_file.unreadable(full, exc) from exc
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return None
        size = status.st_size if kind is EntryKind.FILE else 0
        return Entry(kind, path, size, status.st_mtime_ns, stat.S_IMODE(status.st_mode), target)

    def _tablespaces_inside(self) -> Iterator[str]:
        """Tablespaces that somebody placed inside the data directory: their files come by way of their links."""
        for name in self._names(TABLESPACES):
            link = self._full(f"{TABLESPACES}/{name}")
            location = os.path.realpath(link)
            if os.path.islink(link) and location.startswith(f"{self._root}/"):
                yield os.path.relpath(location, self._root)

    def _inner(self, tablespace: str) -> str:
        return f"{tablespace}/{self._version_directory}"

    def _full(self, path: str) -> str:
        return os.path.join(self._root, path)

    def _incomplete(self, happened: str) -> IntegrityError:
        return IntegrityError(
            f"listing the data directory {self._root}",
            happened,
            "Check that all its file systems are mounted and that nothing was removed by hand.",
            code="data_directory_incomplete",
        )


_KINDS = {stat.S_IFDIR: EntryKind.DIRECTORY, stat.S_IFREG: EntryKind.FILE, stat.S_IFLNK: EntryKind.SYMLINK}


def _permanent_relations(names: list[str]) -> list[str]:
    """Leave out temporary relations, and of unlogged ones all but the fork that they are made anew from."""
    unlogged = {name[: -len("_init")] for name in names if name.endswith("_init")}
    return [name for name in names if not (_TEMPORARY_RELATION_FILE.fullmatch(name) or _is_reset(name, unlogged))]


def _is_reset(name: str, unlogged: set[str]) -> bool:
    """Whether the server removes this file, of a relation of those `unlogged`, when it starts from a backup."""
    file = _RELATION_FILE.fullmatch(name)
    return file is not None and file["fork"] != Fork.INIT.value and file["filenode"] in unlogged
