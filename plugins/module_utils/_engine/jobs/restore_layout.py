# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Laying out a restored data directory: everything but starting it.

While it is incomplete the directory carries a marker and lacks `pg_control`, so no server can
start in it, and the same restore can be run again into it. `pg_control` comes last.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import durable
from ..checksums import file_checksum
from ..clock import parse_utc
from ..errors import PreconditionError
from ..ports import ProgressSink
from ..postgres import pg_manifest, postmaster_pid, recovery_settings
from ..postgres.control_file import CONTROL_FILE
from ..postgres.data_directory import TABLESPACES, WAL_DIRECTORY
from ..report.events import PhaseStarted
from ..repository.manifest import DirectoryEntry, Header
from ..repository.stanza import Stanza
from ..repository.wal import WalArchive
from ..sources.cluster_writer import Destination, write_error, write_files
from ..sources.file_reader import FileReader
from .choose import missing_wal, needed_segments

MARKER = "lifeboat-restore-unfinished.json"
_AUTO_CONF = "postgresql.auto.conf"
_MAIN_CONF = "postgresql.conf"
_DIRECTORY_MODE = 0o700


@dataclass(frozen=True)
class Layout:
    """Where a backup goes and with which settings."""

    data_directory: Path
    tablespaces: Mapping[str, Path]  # oid -> location
    settings: Mapping[str, str]
    jobs: int


def require_free_directory(directory: Path) -> None:
    """Refuse a directory that a server runs in, or that holds anything but an unfinished restore (I6)."""
    attempted = f"restoring into {directory}"
    if postmaster_pid.is_running(directory):
        raise PreconditionError(
            attempted,
            "a server is running in this directory.",
            "Stop it, or restore into another directory.",
            code="directory_in_use",
        )
    try:
        content = os.listdir(directory)
    except FileNotFoundError:
        return
    except OSError as exc:
        raise PreconditionError(
            attempted, f"{exc.strerror}.", "Give a directory that this user may use.", code="directory_not_usable"
        ) from exc
    if content and MARKER not in content:
        raise PreconditionError(
            attempted,
            f"the directory is not empty ({len(content)} entries, among them {sorted(content)[0]}).",
            "Give a new or empty directory; nothing was touched.",
            code="directory_not_empty",
        )


def require_space(directory: Path, needed: int) -> None:
    """Refuse before the first byte when the file system cannot hold the backup."""
    existing = directory
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise PreconditionError(
            f"restoring into {directory}",
            f"it needs {needed >> 20} MiB, but {existing} has only {free >> 20} MiB free.",
            "Free space there, or give a directory on a larger file system.",
            code="not_enough_space",
        )


def _places_of_unfinished(directory: Path) -> set[str]:
    """The tablespace directories that an unfinished restore into `directory` has begun to fill."""
    try:
        return set(json.loads((directory / MARKER).read_text())["tablespaces"])
    except (OSError, ValueError, KeyError):
        return set()


def map_tablespaces(header: Header, directory: Path, mapping: Mapping[str, str], root: Path | None) -> dict[str, Path]:
    """A new place for every tablespace: the old ones may be in use by the original cluster."""
    places = {}
    ours = _places_of_unfinished(directory)
    for oid, location in header.tablespaces.items():
        if location not in mapping and root is None:
            raise PreconditionError(
                f"restoring backup {header.backup_id}",
                f"its tablespace {location} has no place in tablespace_mapping.",
                "Map every tablespace to a new empty directory.",
                code="tablespace_not_mapped",
                tablespace=location,
            )
        place = Path(mapping[location]) if location in mapping else Path(root or "", oid)
        if str(place) not in ours and place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise PreconditionError(
                f"restoring backup {header.backup_id}",
                f"the directory {place} for its tablespace {location} is not empty.",
                "Give a new or empty directory.",
                code="directory_not_empty",
            )
        places[oid] = place
    return places


def _empty(directory: Path) -> None:
    """Remove what an unfinished restore left, but for the marker; links are removed, not followed."""
    for entry in directory.iterdir():
        if entry.name == MARKER:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


class _Writer:
    """One restore's steps, and the list of what it wrote for PostgreSQL's own manifest."""

    def __init__(self, stanza: Stanza, header: Header, layout: Layout, sink: ProgressSink) -> None:
        self._stanza = stanza
        self._header = header
        self._layout = layout
        self._sink = sink
        self._root = layout.data_directory
        self._listed: list[pg_manifest.ManifestFile] = []
        self._touched: set[Path] = set()
        self._config_came_from_elsewhere = False

    def prepare(self) -> None:
        """An empty directory with the marker in it; what an unfinished restore left is removed."""
        durable.make_directories(self._root, _DIRECTORY_MODE)
        self._root.chmod(_DIRECTORY_MODE)
        places = [str(place) for place in self._layout.tablespaces.values()]
        marker = json.dumps({"backup": self._header.backup_id, "tablespaces": places}) + "\n"
        durable.write_file(self._root / MARKER, marker.encode(), 0o600)
        for place in self._layout.tablespaces.values():
            durable.make_directories(place, _DIRECTORY_MODE)
        for directory in (self._root, *self._layout.tablespaces.values()):
            _empty(directory)

    def files(self) -> None:
        """Directories in passing, files in parallel."""
        jobs = self._layout.jobs
        readers = [FileReader(self._stanza, self._header.generation, jobs) for _number in range(jobs)]
        written = write_files(self._destinations(), readers, self._header.raw_bytes, self._sink)
        rewritten = {_AUTO_CONF, *((_MAIN_CONF,) if self._config_came_from_elsewhere else ())}
        self._listed += [file for file in written if file.path not in rewritten]

    def _destinations(self) -> Iterator[Destination]:
        for entry in self._stanza.entries(self._header.backup_id):
            if isinstance(entry, DirectoryEntry):
                self._directory(entry)
                continue
            path = self._path(entry.path)
            self._touched.add(path.parent)
            if entry.area == "config":
                durable.make_directories(path.parent, _DIRECTORY_MODE)
                self._config_came_from_elsewhere |= entry.path == _MAIN_CONF
            yield Destination(entry, path)

    def _path(self, relative: str) -> Path:
        parts = Path(relative).parts
        if Path(relative).is_absolute() or ".." in parts:
            raise PreconditionError(
                f"restoring backup {self._header.backup_id}",
                f"its manifest names the path {relative!r}, which leaves the data directory.",
                "Do not use this backup.",
                code="path_invalid",
            )
        return self._root.joinpath(*parts)

    def _directory(self, entry: DirectoryEntry) -> None:
        path = self._path(entry.path)
        path.mkdir(mode=_DIRECTORY_MODE)
        path.chmod(entry.mode)
        self._touched |= {path, path.parent}
        if entry.path == TABLESPACES:  # what is in them comes after, by way of these links
            for oid, place in self._layout.tablespaces.items():
                (path / oid).symlink_to(place)

    def _own_file(self, name: str, content: bytes, mode: int = 0o600) -> None:
        durable.write_file(self._path(name), content, mode)
        self._list_own(name, content)

    def _list_own(self, name: str, content: bytes) -> None:
        stopped_ns = int(parse_utc(self._header.stop_time).timestamp()) * 10**9
        checksum = file_checksum()
        checksum.update(content)
        self._listed.append(
            pg_manifest.ManifestFile(name, len(content), stopped_ns, checksum.algorithm, checksum.hexdigest())
        )

    def wal(self, archive: WalArchive) -> None:
        """The WAL that makes the backup consistent, so that the directory is whole by itself."""
        for segment in needed_segments(self._header):
            archived = archive.find(segment.name)
            if archived is None:
                raise missing_wal(self._header, [segment.name])
            durable.write_file(self._root / WAL_DIRECTORY / segment.name, archive.fetch(archived), 0o600)

    def settings(self) -> None:
        """backup_label, our settings, and the configuration of another place adapted to this one."""
        self._own_file("backup_label", self._header.backup_label.encode())
        main = self._path(_MAIN_CONF)
        if not any(file.path == _MAIN_CONF for file in self._listed):
            text = main.read_text() if main.exists() else "# the backup holds no configuration file\n"
            self._own_file(_MAIN_CONF, recovery_settings.without_locations(text).encode(), 0o600)
        auto = self._path(_AUTO_CONF)
        existing = auto.read_text() if auto.exists() else ""
        self._own_file(_AUTO_CONF, recovery_settings.render(existing, self._layout.settings).encode())
        durable.write_file(self._root / "recovery.signal", b"", 0o600)

    def finish(self) -> None:
        """Sync directories, write the manifest, then `pg_control`, then take the marker away."""
        control = base64.b64decode(self._header.control_file)
        self._list_own(CONTROL_FILE, control)
        wal = pg_manifest.WalRange(self._header.timeline, self._header.start_lsn, self._header.stop_lsn)
        text = b"".join(
            pg_manifest.render(self._header.major_version, self._header.system_identifier, self._listed, [wal])
        )
        durable.write_file(self._root / pg_manifest.MANIFEST_FILE, text, 0o600)
        for directory in sorted(self._touched):
            durable.fsync_directory(directory)
        durable.write_file(self._root / CONTROL_FILE, control, 0o600)
        (self._root / MARKER).unlink()
        durable.fsync_directory(self._root)


def lay_out(stanza: Stanza, archive: WalArchive, header: Header, layout: Layout, sink: ProgressSink) -> None:
    """Write the whole directory. Interrupted, it stays marked and unstartable, and can be laid out again."""
    writer = _Writer(stanza, header, layout, sink)
    try:
        writer.prepare()
        sink.emit(PhaseStarted("writing files", str(layout.data_directory)))
        writer.files()
        sink.emit(PhaseStarted("fetching WAL", "what makes the backup consistent"))
        writer.wal(archive)
        sink.emit(PhaseStarted("finishing the directory"))
        writer.settings()
        writer.finish()
    except OSError as exc:
        raise write_error(layout.data_directory, exc) from exc
