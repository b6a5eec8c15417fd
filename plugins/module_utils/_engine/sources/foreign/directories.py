# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a directory is, told from the files in it and their content."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import PreconditionError
from ...postgres.wal_names import WalFileKind, classify
from . import dump_header
from .description import (
    ARCHIVE_DIRECTORY,
    BASE_BACKUP,
    DATA_DIRECTORY,
    UNKNOWN,
    WAL_ARCHIVE,
    Description,
    Payload,
    WalFiles,
)

_HEADER = 1 << 13
_TAR_NAME = re.compile(r"(?:base|pg_wal|\d+)\.tar(?:\.[a-z0-9]+)?")
_SUFFIX = re.compile(r"\.(?:gz|zst|bz2|xz|lz4|gpg|enc)")


def describe_directory(path: Path, attempted: str) -> Description:
    """What a directory is."""
    try:
        names = {entry.name for entry in path.iterdir()}
    except OSError as exc:
        raise PreconditionError(
            attempted,
            f"{path} cannot be listed: {exc.strerror}.",
            "Give the path of a directory that this user can read.",
            code="foreign_file_unreadable",
        ) from exc
    if "toc.dat" in names:
        with (path / "toc.dat").open("rb") as file:
            header = dump_header.parse(file.read(_HEADER))
        if header:
            words = (header.server_version, header.program_version, header.database, header.made_at)
            return Description((), Payload(ARCHIVE_DIRECTORY, *words))
    if {"PG_VERSION", "global"} <= names:
        return Description((), _data_directory(path, names))
    if base_tar(names):
        return Description((), Payload(BASE_BACKUP))
    wal = wal_files(names)
    if wal:
        return Description((), Payload(WAL_ARCHIVE), wal)
    return Description((), Payload(UNKNOWN))


def _data_directory(path: Path, names: set[str]) -> Payload:
    version = (path / "PG_VERSION").read_text(errors="replace").strip()
    note = ""
    if "postmaster.pid" in names:
        note = "A server runs or ran in it: this is not a backup, or one copied from a live server."
    elif "backup_label" not in names:
        note = "It has no backup_label: it can be used only if the server was stopped when it was copied."
    return Payload(DATA_DIRECTORY, server_version=version, note=note)


def base_tar(names: Iterable[str]) -> str | None:
    """The name of base.tar, however it is compressed."""
    return next((name for name in sorted(names) if _TAR_NAME.fullmatch(name) and name.startswith("base.")), None)


def tar_files(names: Iterable[str]) -> list[str]:
    """The tar files of pg_basebackup: the data directory, one for each tablespace, the WAL."""
    return sorted(name for name in names if _TAR_NAME.fullmatch(name))


def wal_files(names: Iterable[str]) -> WalFiles | None:
    """Count the WAL, if it is what the directory has."""
    known = list(_wal_names(names))
    segments = sorted(base for base, kind, _name in known if kind is WalFileKind.SEGMENT)
    if not segments:
        return None
    return WalFiles(
        segments=len(segments),
        first=segments[0],
        last=segments[-1],
        histories=sum(kind is WalFileKind.HISTORY for _base, kind, _name in known),
        compressed=sum(base != name for base, _kind, name in known),
    )


def _wal_names(names: Iterable[str]) -> Iterator[tuple[str, WalFileKind, str]]:
    """The name inside the archive, what it is, and the file's name: `gzip` adds to it."""
    for name in names:
        base = name
        while _SUFFIX.fullmatch(Path(base).suffix):
            base = Path(base).stem
        kind = classify(base)
        if kind:
            yield base, kind, name


def wal_paths(path: Path) -> list[tuple[str, Path]]:
    """The segments in order: name and file."""
    found = _wal_names(entry.name for entry in path.iterdir())
    return sorted((base, path / name) for base, kind, name in found if kind is WalFileKind.SEGMENT)
