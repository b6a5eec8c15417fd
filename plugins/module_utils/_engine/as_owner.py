# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a job as whoever owns its files, with everything imported before the change of user."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from . import durable
from .errors import LifeboatError, PreconditionError
from .ports import ProgressSink
from .privileges import Owner, Task, account, account_named, owner_of, run_as
from .repository.access import prepare
from .specs import ClusterSpec, RepositorySpec


def owner_for(data_directory: Path | None) -> Owner:
    """The owner of a data directory; without one, whoever we are, unless that is root."""
    if data_directory is not None:
        return owner_of(data_directory)
    if os.geteuid() == 0:
        raise PreconditionError(
            "finding out whom to work as",
            "this runs as root, and no data directory is given.",
            "Set data_directory, or run as the server's owner.",
            code="data_directory_needed",
        )
    return account(os.geteuid())


def owner_or_self(data_directory: Path | None) -> Owner:
    """The owner of a data directory; without one whoever we are: for work that touches none of the server's files."""
    return owner_of(data_directory) if data_directory is not None else account(os.geteuid())


def owner_for_cluster(cluster: ClusterSpec, repository: RepositorySpec) -> Owner:
    """Whom to work as for a cluster: its files' owner, or without files whoever owns what opens the repository."""
    if cluster.method != "stream":
        return owner_for(cluster.data_directory)
    return _owner_of_repository(repository)


def _owner_of_repository(repository: RepositorySpec) -> Owner:
    uid = os.geteuid()
    if uid == 0:
        places = (repository.key.key_file, repository.key.passphrase_file, Path(repository.url))
        uid = next((each.stat().st_uid for each in places if each is not None and each.exists()), uid)
    return account(uid)


def owner_of_dumps(cluster: ClusterSpec, repository: RepositorySpec) -> Owner:
    """Whom to work as for a server that is only talked to: the owner of its files, if they are here, as for everything
    else; without them whoever owns what opens the repository.
    """
    if cluster.data_directory is not None and cluster.data_directory.exists():
        return owner_of(cluster.data_directory)
    return _owner_of_repository(repository)


def owner_of_new(directory: Path, name: str | None, data_directory: Path | None) -> Owner:
    """Who shall own a directory that is yet to be made: the named user, or the nearest existing owner.

    Not asked for by name, it is whoever owns the cluster's present data directory, else the
    nearest existing parent of the new one. An ordinary user works as himself.
    """
    if os.geteuid() != 0:
        return account(os.geteuid())
    if name is not None:
        return account_named(name)
    if data_directory is not None and data_directory.exists():
        return owner_of(data_directory)
    existing = directory
    while not existing.exists():
        existing = existing.parent
    if existing.stat().st_uid == 0:
        raise PreconditionError(
            f"finding out who shall own {directory}",
            f"{existing} belongs to root, and PostgreSQL refuses to run as root.",
            "Set owner, or data_directory, whose owner it then is.",
            code="owner_needed",
        )
    return owner_of(existing)


@contextlib.contextmanager
def provided(directories: Iterable[Path], owner: Owner) -> Iterator[None]:
    """Make directories for `owner`, as root also where only root may; those that exist are left as they are.

    What was made is taken away again, as far as it is empty, when the block ends with an error.
    """
    made: list[Path] = []
    try:
        for directory in directories:
            made += _make_for(directory, owner)
        yield
    except LifeboatError:
        for directory in reversed(made):
            with contextlib.suppress(OSError):
                directory.rmdir()
        raise


def _make_for(directory: Path, owner: Owner) -> list[Path]:
    """The directories that were missing: parents that everybody may enter, the last for `owner` alone."""
    missing = [each for each in (*reversed(directory.parents), directory) if not each.exists()]
    if missing:
        with contextlib.suppress(PermissionError):  # who then writes there says what is wrong
            durable.make_directories(directory, 0o755)
            directory.chmod(0o700)
            os.chown(directory, owner.uid, owner.gid, follow_symlinks=False)
    return missing


def run_job(
    owner: Owner,
    repository: RepositorySpec | None,
    packages: Iterable[str],
    task: Task,
    sink: ProgressSink,
    *,
    may_mount: bool = False,
) -> dict[str, Any]:
    """Import what the job and its repository, if it has one, need, then run it as `owner`."""
    prepare(repository, packages, stays=owner.uid == os.geteuid())
    return run_as(owner, task, sink, may_mount=may_mount)
