# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a restore may write: the checks before the first byte (I6)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import PreconditionError
from ...postgres import control_file, postmaster_pid
from ...postgres.data_directory import TABLESPACES
from ...postgres.recovery_settings import RECOVERY_SIGNAL
from ...repository.manifest import Header

MARKER = "lifeboat-restore-unfinished.json"


@dataclass(frozen=True)
class Layout:
    """Where a backup goes and with which settings."""

    data_directory: Path
    tablespaces: Mapping[str, Path]  # oid -> location
    settings: Mapping[str, str]
    jobs: int
    max_rate: float | None = None
    signal: str = RECOVERY_SIGNAL  # the file that says what the server shall do at its start


def require_usable_directory(directory: Path, system_identifier: int, *, delta: bool) -> None:
    """Refuse a directory that a server runs in, or whose content nobody has given up.

    An unfinished restore goes on; one that only lacks the removal of its marker is finished, and the
    cluster may have been used since. With `delta` the directory may also hold the very cluster that
    the backup is of; everything else that is there stays untouched.
    """
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
    startable = (directory / control_file.CONTROL_FILE).exists()
    if not content or (MARKER in content and not startable):
        return
    if not delta:
        raise PreconditionError(
            attempted,
            f"the directory is not empty ({len(content)} entries, among them {sorted(content)[0]}).",
            "Give a new or empty directory, or set delta to bring this cluster back in place; nothing was touched.",
            code="directory_not_empty",
        )
    found = control_file.read(directory).system_identifier
    if found != system_identifier:
        raise PreconditionError(
            attempted,
            f"it holds the cluster with system identifier {found}, the backup is of {system_identifier}.",
            "Give the directory of the cluster that the backup was made of; nothing was touched.",
            code="directory_of_another_cluster",
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


def _places_in_use(directory: Path) -> dict[str, str]:
    """Where the tablespaces of the cluster in `directory` are now, by their oid."""
    try:
        links = list((directory / TABLESPACES).iterdir())
    except OSError:
        return {}
    return {link.name: os.readlink(link) for link in links if link.is_symlink()}


def map_tablespaces(
    header: Header, directory: Path, mapping: Mapping[str, str], root: Path | None, *, delta: bool
) -> dict[str, Path]:
    """A new place for every tablespace: the old ones may be in use by the original cluster.

    With `delta` the directory is that cluster's, and so are the places that its links lead to.
    """
    places = {}
    present = _places_in_use(directory) if delta else {}
    ours = _places_of_unfinished(directory) | set(present.values())
    for oid, location in header.tablespaces.items():
        place = Path(mapping.get(location) or present.get(oid) or (str(root / oid) if root else ""))
        if place == Path():
            raise PreconditionError(
                f"restoring backup {header.backup_id}",
                f"its tablespace {location} has no place in tablespace_mapping.",
                "Map every tablespace to a new empty directory.",
                code="tablespace_not_mapped",
                tablespace=location,
            )
        if str(place) not in ours and place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise PreconditionError(
                f"restoring backup {header.backup_id}",
                f"the directory {place} for its tablespace {location} is not empty.",
                "Give a new or empty directory.",
                code="directory_not_empty",
            )
        places[oid] = place
    return places
