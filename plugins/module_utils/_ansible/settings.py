# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From module options to typed requests: lifeboat.conf below, inline options on top, option by option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .._engine import config, connection_settings
from .._engine.retention_policy import RETENTION_KEYS
from .._engine.specs import ArchiveSpec, ClusterSpec, ConnectionSpec, RepositorySpec, WalCopy


def cluster_values(params: dict[str, Any]) -> dict[str, str]:
    """Flat settings of the cluster. The file is needed only when it is named or has the cluster."""
    values: dict[str, str] = {}
    path = Path(params["config_file"] or config.DEFAULT_PATH)
    names = (*config.REPOSITORY_KEYS, *config.CLUSTER_KEYS, *RETENTION_KEYS, "passphrase")
    given = {name: config.text(params[name]) for name in names if params.get(name) is not None}
    if params["config_file"] or path.exists():
        settings = config.read(path)
        if params["config_file"] or params["cluster"] in settings.clusters:
            named = given.pop("repository") if "/" not in given.get("repository", "/") else None
            values.update(config.cluster_settings(settings, path, params["cluster"], named))
    return config.overlaid(values, given)


def specs(params: dict[str, Any]) -> tuple[ClusterSpec, RepositorySpec]:
    """The cluster and the repository a module works on."""
    return config.specs(params["cluster"], cluster_values(params), params["login_password"])


def connection(params: dict[str, Any]) -> tuple[ConnectionSpec, Path | None]:
    """How to reach the server and where its files are, for what has nothing to do with a repository."""
    values = cluster_values(params)
    spec = connection_settings.parse(params["cluster"], values, params["login_password"])
    return spec, Path(values["data_directory"]) if values.get("data_directory") else None


def archive_spec(params: dict[str, Any], cluster: ClusterSpec, repository: RepositorySpec) -> ArchiveSpec:
    """Every repository that gets the cluster's WAL: those of the file, unless one is given here."""
    path = Path(params["config_file"] or config.DEFAULT_PATH)
    if _said_by_file(path, cluster.name) == (cluster.stanza, repository):
        return config.archive_spec(config.read(path), path, cluster.name)
    return ArchiveSpec((WalCopy("main", repository),))


def other_repositories(params: dict[str, Any], repository: RepositorySpec) -> tuple[RepositorySpec, ...]:
    """The cluster's repositories in the file but for this one."""
    return config.other_repositories(Path(params["config_file"] or config.DEFAULT_PATH), params["cluster"], repository)


def command_options(params: dict[str, Any], cluster: ClusterSpec, repository: RepositorySpec) -> list[str]:
    """How the on-host command is told the same: by name where the file says the same, else option by option."""
    path = Path(params["config_file"] or config.DEFAULT_PATH)
    if _said_by_file(path, cluster.name) == (cluster.stanza, repository):
        elsewhere = [] if path == config.DEFAULT_PATH else ["--config", str(path)]
        return [*elsewhere, "--cluster", cluster.name]
    return [*repository.command_options(), "--stanza", cluster.stanza]


def _said_by_file(path: Path, name: str) -> tuple[str, RepositorySpec] | None:
    """Stanza and repository of a cluster that the file describes."""
    settings = config.read(path) if path.exists() else None
    if settings is None or name not in settings.clusters:
        return None
    cluster, repository = config.specs(name, config.cluster_settings(settings, path, name))
    return cluster.stanza, repository
