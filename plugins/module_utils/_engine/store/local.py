# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store in a local (or NFS) directory.

An object appears by rename or link of a file that was written and synced under a temporary
name in the same directory, and its directory is synced before success is reported.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType

from .. import durable
from ..errors import LifeboatError, StorageError
from .base import ObjectInfo, Unfinished, checked_object_name, missing, truncated

_DIRECTORY_MODE = 0o700
_FILE_MODE = 0o600
_ATTEMPTS = 5
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{12}\.tmp\Z")  # as durable.temporary_beside makes them


def _storage_error(attempted: str, exc: OSError) -> LifeboatError:
    """Name the usual causes, each with its remedy."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            attempted,
            "the file system is full.",
            "Free space or enlarge it, then run again; backups made before are untouched.",
            code="storage_full",
        )
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(
            attempted,
            f"not permitted ({exc.strerror}: {exc.filename}).",
            "Give the user that owns the data directory read and write access to the repository.",
            code="storage_not_permitted",
        )
    return StorageError(
        attempted,
        f"{exc}.",
        "Check the disk or mount that holds the repository, then run again.",
        code="storage_failed",
    )


class LocalWriter:
    """Writes one object to a temporary file; `commit` publishes it."""

    def __init__(self, final: Path, name: str) -> None:
        self._final = final
        self._name = name
        self._done = False
        self._temporary = durable.temporary_beside(final)
        try:
            self._stream = os.fdopen(self._created(), "wb", buffering=0)
        except OSError as exc:
            raise _storage_error(f"creating {name} in the repository", exc) from exc

    def _created(self) -> int:
        """Open the temporary file. Whoever deletes beside us may just have found its directory empty and removed it."""
        attempts = 0
        while True:
            try:
                durable.make_directories(self._final.parent, _DIRECTORY_MODE)
                return os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _FILE_MODE)
            except FileNotFoundError:
                attempts += 1
                if attempts == _ATTEMPTS:
                    raise

    def write(self, data: bytes) -> None:
        """Append bytes."""
        view = memoryview(data)
        try:
            while view:
                written = self._stream.write(view)
                view = view[written or 0 :]
        except OSError as exc:
            raise _storage_error(f"writing {self._name} to the repository", exc) from exc

    def _sync(self) -> None:
        os.fsync(self._stream.fileno())
        self._stream.close()

    def commit(self) -> None:
        """Publish under the final name, replacing what was there."""
        try:
            self._sync()
            self._temporary.replace(self._final)
            self._done = True
            durable.fsync_directory(self._final.parent)
        except OSError as exc:
            raise _storage_error(f"publishing {self._name} in the repository", exc) from exc

    def commit_if_absent(self) -> bool:
        """Publish only where no object of this name exists."""
        try:
            self._sync()
            try:
                os.link(self._temporary, self._final)
            except FileExistsError:
                # Over NFS the reply to a link that succeeded may be lost and the call repeated:
                # the link count tells whether the existing name is ours.
                if self._temporary.stat().st_nlink != 2:
                    return False
            durable.fsync_directory(self._final.parent)
            return True
        except OSError as exc:
            raise _storage_error(f"publishing {self._name} in the repository", exc) from exc
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove the temporary file; harmless after `commit`."""
        if self._done:
            return
        self._done = True
        with contextlib.suppress(OSError):
            self._stream.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()

    def __enter__(self) -> LocalWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


class LocalStore:
    """Objects as files below one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = str(root)

    def create(self) -> None:
        """Make the root directory if it is missing."""
        try:
            durable.make_directories(self.root, _DIRECTORY_MODE)
        except OSError as exc:
            raise _storage_error(f"creating the repository {self.url}", exc) from exc

    def _path(self, name: str) -> Path:
        return self.root.joinpath(*checked_object_name(name, self.url).split("/"))

    def writer(self, name: str) -> LocalWriter:
        """Begin to write an object."""
        return LocalWriter(self._path(name), name)

    def put(self, name: str, data: bytes, *, if_absent: bool = False) -> bool:
        """Write a small object, durably."""
        with self.writer(name) as writer:
            writer.write(data)
            if if_absent:
                return writer.commit_if_absent()
            writer.commit()
        return True

    def get(self, name: str) -> bytes:
        """The whole object."""
        try:
            return self._path(name).read_bytes()
        except OSError as exc:
            raise self._read_error(name, exc) from exc

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes."""
        try:
            handle = os.open(f"{self.url}/{checked_object_name(name, self.url)}", os.O_RDONLY)
            try:
                data = os.pread(handle, length, offset)
            finally:
                os.close(handle)
        except OSError as exc:
            raise self._read_error(name, exc) from exc
        if len(data) != length:
            raise truncated(name, self.url, offset, length, self.size(name))
        return data

    def _read_error(self, name: str, exc: OSError) -> LifeboatError:
        if isinstance(exc, FileNotFoundError):
            return missing(name, self.url)
        return _storage_error(f"reading {name} in {self.url}", exc)

    def size(self, name: str) -> int | None:
        """Size in bytes, None when missing."""
        try:
            return self._path(name).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise _storage_error(f"looking for {name} in {self.url}", exc) from exc

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects by name prefix, sorted; temporary files are left out."""
        folder, _slash, start = prefix.rpartition("/")
        directory = self._path(folder) if folder else self.root
        yield from self._walk(directory, f"{folder}/" if folder else "", start)

    def _walk(self, directory: Path, base: str, start: str) -> Iterator[ObjectInfo]:
        try:
            with os.scandir(directory) as entries:
                found = sorted(
                    ((entry.name, entry.is_dir()) for entry in entries if entry.name.startswith(start)),
                    # "a/b" sorts after "a-b" as whole names do, so compare directories with their slash
                    key=lambda item: item[0] + "/" if item[1] else item[0],
                )
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as exc:
            raise _storage_error(f"listing {base or 'the root'} of {self.url}", exc) from exc
        for name, is_directory in found:
            if name.startswith("."):
                continue
            if is_directory:
                yield from self._walk(directory / name, f"{base}{name}/", "")
                continue
            size = self.size(f"{base}{name}")
            if size is not None:  # removed since the listing
                yield ObjectInfo(f"{base}{name}", size)

    def delete(self, name: str, *, durably: bool = False) -> None:
        """Remove an object and the directories it leaves empty."""
        path = self._path(name)
        try:
            path.unlink(missing_ok=True)
            remaining = self._without_empty(path.parent)
            if durably:
                durable.fsync_directory(remaining)
        except OSError as exc:
            raise _storage_error(f"deleting {name} in {self.url}", exc) from exc

    def _without_empty(self, directory: Path) -> Path:
        """Remove empty directories from this one upwards; the first that stays."""
        with contextlib.suppress(OSError):  # not empty: others still live there
            while directory != self.root:
                directory.rmdir()
                directory = directory.parent
        while not directory.exists():  # somebody else was faster
            directory = directory.parent
        return directory

    def unfinished(self, folder: str) -> Iterator[Unfinished]:
        """Temporary files, with when they were last written to."""
        for directory, _directories, names in os.walk(self._path(folder.rstrip("/"))):
            for name in names:
                match = _TEMPORARY.match(name)
                path = Path(directory, name)
                if match is None:
                    continue
                with contextlib.suppress(FileNotFoundError):  # committed since
                    written = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
                    final = path.with_name(match["name"]).relative_to(self.root)
                    yield Unfinished(str(final), str(path.relative_to(self.root)), written)

    def discard(self, unfinished: Unfinished) -> None:
        """Remove the temporary file."""
        path = self.root / unfinished.token
        try:
            path.unlink(missing_ok=True)
            self._without_empty(path.parent)
        except OSError as exc:
            raise _storage_error(f"deleting {unfinished.token} in {self.url}", exc) from exc
