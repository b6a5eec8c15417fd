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
from collections.abc import Iterator
from pathlib import Path

from ... import durable
from ...checksums import file_checksum
from ...clock import parse_utc
from ...errors import PreconditionError
from ...ports import ProgressSink
from ...postgres import pg_manifest, recovery_settings
from ...postgres.control_file import CONTROL_FILE
from ...postgres.data_directory import TABLESPACES, WAL_DIRECTORY
from ...report.events import PhaseStarted
from ...repository.manifest import DirectoryEntry, Header
from ...repository.stanza import Stanza
from ...repository.wal import WalArchive
from ...sources.cluster_writer import Destination, write_error, write_files
from ...sources.file_reader import FileReader
from ...sources.tally import ByteTally
from .choose import missing_wal, needed_segments
from .layout import MARKER, Layout
from .salvage import SALVAGED_SUFFIX, salvage_wal

_AUTO_CONF = "postgresql.auto.conf"
_MAIN_CONF = "postgresql.conf"
# A backup of a standby has these; what is restored decides for itself what it is.
_NOT_RESTORED = frozenset({recovery_settings.RECOVERY_SIGNAL, recovery_settings.STANDBY_SIGNAL})
_DIRECTORY_MODE = 0o700


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
        self._names: set[str] = set()  # everything that belongs there
        self._config: set[str] = set()  # configuration that had its place outside the data directory
        self._keeps = False

    def prepare(self) -> None:
        """From here on no server can start in the directory, whatever it held before."""
        durable.make_directories(self._root, _DIRECTORY_MODE)
        self._root.chmod(_DIRECTORY_MODE)
        self._keeps = any(name != MARKER for name in os.listdir(self._root))
        places = [str(place) for place in self._layout.tablespaces.values()]
        marker = json.dumps({"backup": self._header.backup_id, "tablespaces": places}) + "\n"
        durable.write_file(self._root / MARKER, marker.encode(), 0o600)
        if self._keeps:
            control = self._root / CONTROL_FILE
            control.unlink(missing_ok=True)
            if control.parent.is_dir():
                durable.fsync_directory(control.parent)
        for place in self._layout.tablespaces.values():
            durable.make_directories(place, _DIRECTORY_MODE)

    def salvage(self, archive: WalArchive) -> list[str]:
        """WAL of the old cluster that was never archived is kept; then its directory is emptied."""
        old = self._root / WAL_DIRECTORY
        if not self._keeps or not old.is_dir():
            return []
        kept = salvage_wal(old, archive, self._root.with_name(f"{self._root.name}{SALVAGED_SUFFIX}"), self._sink)
        _empty(old)
        return kept

    def files(self) -> None:
        """Directories in passing, files in parallel."""
        jobs = self._layout.jobs
        readers = [FileReader(self._stanza, self._header.generation, jobs) for _number in range(jobs)]
        tally = ByteTally(self._sink, self._header.raw_bytes, self._layout.max_rate)
        written = write_files(self._destinations(), readers, tally)
        self._sink.emit(PhaseStarted("syncing files", "to disk"))
        roots = [self._root, self._root / WAL_DIRECTORY, *self._layout.tablespaces.values()]
        durable.sync_files((self._path(file.path) for file in written), roots)
        rewritten = {_AUTO_CONF, *(self._config & {_MAIN_CONF})}
        self._listed += [file for file in written if file.path not in rewritten]
        self._names |= {file.path for file in written}

    def _destinations(self) -> Iterator[Destination]:
        for entry in self._stanza.entries(self._header.backup_id):
            if isinstance(entry, DirectoryEntry):
                self._directory(entry)
            elif entry.path not in _NOT_RESTORED | self._config:  # a forgotten copy must not win
                path = self._path(entry.path)
                self._touched.add(path.parent)
                if entry.area == "config":
                    durable.make_directories(path.parent, _DIRECTORY_MODE)
                    self._config.add(entry.path)
                yield Destination(entry, path, self._keeps)

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
        if self._keeps and (path.is_symlink() or path.exists()):
            linked_wal = entry.path == WAL_DIRECTORY and path.is_dir()  # WAL on a disk of its own stays there
            if not linked_wal and (path.is_symlink() or not path.is_dir()):
                path.unlink()
        path.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
        path.chmod(entry.mode)
        self._names.add(entry.path)
        self._touched |= {path, path.parent}
        if entry.path == TABLESPACES:  # what is in them comes after, by way of these links
            for oid, place in self._layout.tablespaces.items():
                link = path / oid
                if link.is_symlink() and os.readlink(link) != str(place):
                    link.unlink()
                if not link.is_symlink():
                    link.symlink_to(place)
                self._names.add(f"{TABLESPACES}/{oid}")

    def remove_unlisted(self) -> None:
        """What the backup does not have was made after it, and must go."""
        if not self._keeps:
            return
        self._remove_unlisted(self._root, "")
        for oid, place in self._layout.tablespaces.items():
            self._remove_unlisted(place, f"{TABLESPACES}/{oid}/")

    def _remove_unlisted(self, directory: Path, prefix: str) -> None:
        for entry in list(os.scandir(directory)):
            name = f"{prefix}{entry.name}"
            if name not in self._names and name != MARKER:
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path)
                else:
                    if prefix == f"{TABLESPACES}/":
                        self._empty_tablespace(Path(entry.path))
                    os.unlink(entry.path)
                self._touched.add(directory)
            elif entry.is_dir(follow_symlinks=False) and name != WAL_DIRECTORY:
                self._remove_unlisted(Path(entry.path), f"{name}/")

    def _empty_tablespace(self, link: Path) -> None:
        """A tablespace made after the backup: WAL will make it again, and must find nothing of the future in it."""
        for content in link.glob(f"PG_{self._header.major_version}_*"):
            shutil.rmtree(content)

    def _own_file(self, name: str, content: bytes) -> None:
        durable.write_file(self._path(name), content, 0o600)
        self._names.add(name)
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
            durable.write_pieces(self._root / WAL_DIRECTORY / segment.name, archive.pieces(archived), 0o600)

    def settings(self) -> None:
        """backup_label, our settings, and the configuration of another place adapted to this one."""
        self._own_file("backup_label", self._header.backup_label.encode())
        main = self._path(_MAIN_CONF)
        if not any(file.path == _MAIN_CONF for file in self._listed):
            text = _read(main) if main.exists() else "# the backup holds no configuration file\n"
            self._own_file(_MAIN_CONF, os.fsencode(recovery_settings.without_locations(text)))
            for name in recovery_settings.include_directories(text):
                durable.make_directories(self._path(name), _DIRECTORY_MODE)
                self._names.add(name)
        auto = self._path(_AUTO_CONF)
        existing = _read(auto) if auto.exists() else ""
        self._own_file(_AUTO_CONF, os.fsencode(recovery_settings.render(existing, self._layout.settings)))
        durable.write_file(self._root / self._layout.signal, b"", 0o600)
        self._names.add(self._layout.signal)

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


def _read(path: Path) -> str:
    """A configuration file's text; bytes that are no UTF-8 survive."""
    return os.fsdecode(path.read_bytes())


def _empty(directory: Path) -> None:
    """Remove what is in a directory; links are removed, not followed."""
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def lay_out(stanza: Stanza, archive: WalArchive, header: Header, layout: Layout, sink: ProgressSink) -> list[str]:
    """Write the whole directory; returns the WAL files of an old cluster that were kept.

    Interrupted, the directory stays marked and unstartable. Laid out again, what is already equal
    is not written again.
    """
    writer = _Writer(stanza, header, layout, sink)
    try:
        writer.prepare()
        salvaged = writer.salvage(archive)
        sink.emit(PhaseStarted("writing files", str(layout.data_directory)))
        writer.files()
        sink.emit(PhaseStarted("fetching WAL", "what makes the backup consistent"))
        writer.wal(archive)
        sink.emit(PhaseStarted("finishing the directory"))
        writer.settings()
        writer.remove_unlisted()
        writer.finish()
    except OSError as exc:
        raise write_error(layout.data_directory, exc) from exc
    return salvaged
