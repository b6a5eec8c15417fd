# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's settings in lifeboat.conf.

    [repository main]
    url = /srv/lifeboat
    key_file = /etc/lifeboat/main.key

    [repository offsite]
    url = s3://backups/db1
    key_file = /etc/lifeboat/offsite.key

    [cluster main]
    repositories = main, offsite
    stanza = db1-main
    data_directory = /var/lib/postgresql/15/main
    retention = standard

    [retention standard]
    keep_last = 7, pre_migration=2
    keep_days = 14

WAL goes to every repository of a cluster; backups and restores use the first unless told otherwise.
Keys are in files of their own. The one secret that the file may hold is the password in a cluster's database_url, and
then others must not be able to read the file.
"""

from __future__ import annotations

import configparser
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .connection_settings import CONNECTION_KEYS, has_secret
from .connection_settings import parse as connection_spec
from .errors import PreconditionError
from .receive_settings import RECEIVE_KEYS
from .receive_settings import parse as receive_spec
from .retention_policy import RETENTION_KEYS
from .specs import (
    KEY_SETTINGS,
    METHODS,
    S3_SETTINGS,
    ArchiveSpec,
    ClusterSpec,
    DropPolicy,
    KeySpec,
    RepositorySpec,
    S3Spec,
    WalCopy,
)
from .status_thresholds import THRESHOLDS_KEY
from .status_thresholds import parse as thresholds_of

DEFAULT_PATH = Path("/etc/lifeboat/lifeboat.conf")
# A passphrase itself is in no configuration file.
_KEYS_IN_FILE = tuple(name for name in KEY_SETTINGS if name != "passphrase")
REPOSITORY_KEYS = ("url", *_KEYS_IN_FILE, *S3_SETTINGS)
# A cluster has one `repository`, or `repositories`; `optional_repositories` may lag behind.
WAL_KEYS = ("repositories", "optional_repositories", "wal_drop_after")
CLUSTER_KEYS = (
    "repository",
    *WAL_KEYS,
    "stanza",
    "method",
    *RECEIVE_KEYS,
    "retention",
    THRESHOLDS_KEY,
    "data_directory",
    "bin_dir",
    *CONNECTION_KEYS,
)


@dataclass(frozen=True)
class Settings:
    """Flat settings by section, as written."""

    repositories: Mapping[str, Mapping[str, str]]
    clusters: Mapping[str, Mapping[str, str]]
    retentions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def _error(path: Path, happened: str, remedy: str, *, code: str) -> PreconditionError:
    return PreconditionError(f"reading {path}", happened, remedy, code=code)


def read(path: Path) -> Settings:
    """Read and check the file; unknown sections and settings are named, not ignored."""
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), strict=True, default_section="")
    try:
        with path.open(encoding="utf-8") as stream:
            parser.read_file(stream)
    except FileNotFoundError as exc:
        raise _error(
            path, "it does not exist.", "Write it with the module lifeboat_agent.", code="config_missing"
        ) from exc
    except OSError as exc:
        raise _error(
            path, f"{exc.strerror}.", "Let the data directory's owner read it.", code="config_not_readable"
        ) from exc
    except (configparser.Error, UnicodeDecodeError) as exc:
        raise _error(path, f"{' '.join(str(exc).split())}.", "Correct the file.", code="config_invalid") from exc
    sections: dict[str, dict[str, Mapping[str, str]]] = {"repository": {}, "cluster": {}, "retention": {}}
    allowed = {"repository": REPOSITORY_KEYS, "cluster": CLUSTER_KEYS, "retention": RETENTION_KEYS}
    for section in parser.sections():
        kind, _space, name = (part.strip() for part in section.partition(" "))
        if kind not in sections or not name:
            raise _error(
                path,
                f"the section [{section}] is unknown.",
                "Sections are [repository NAME], [cluster NAME] and [retention NAME].",
                code="config_invalid",
            )
        if name in sections[kind]:
            raise _error(path, f"there are two sections [{kind} {name}].", "Keep one of them.", code="config_invalid")
        values = dict(parser[section])
        unknown = sorted(set(values) - set(allowed[kind]))
        if unknown:
            raise _error(
                path,
                f"[{section}] has the unknown setting {unknown[0]}.",
                f"Known ones are: {', '.join(allowed[kind])}.",
                code="config_invalid",
            )
        sections[kind][name] = values
    if any(map(has_secret, sections["cluster"].values())) and path.stat().st_mode & stat.S_IRWXO:
        raise _error(
            path,
            "everybody may read it, and it has a database_url with a password.",
            f"Run: chmod o= {path}. Then change the password, for others may know it.",
            code="config_readable_by_others",
        )
    return Settings(sections["repository"], sections["cluster"], sections["retention"])


def cluster_settings(settings: Settings, path: Path, name: str, repository: str | None = None) -> dict[str, str]:
    """One cluster's settings, with those of its first repository, or of the named one, beside them."""
    cluster = _cluster(settings, path, name)
    required, optional = _repository_names(cluster, path, name)
    if repository is not None and repository not in (*required, *optional):
        raise _error(
            path,
            f"[cluster {name}] has no repository {repository!r} (it has: {', '.join((*required, *optional))}).",
            "Give the name of one of its repositories, or a URL.",
            code="repository_unknown",
        )
    merged = {key: value for key, value in cluster.items() if key not in ("repository", "retention", *WAL_KEYS)}
    merged.update(_repository_settings(settings, path, name, repository or required[0]))
    merged.update(_retention(settings, path, name, cluster.get("retention")))
    return merged


def archive_spec(settings: Settings, path: Path, name: str) -> ArchiveSpec:
    """All repositories that get a cluster's WAL, and what happens when they do not take it."""
    cluster = _cluster(settings, path, name)
    required, optional = _repository_names(cluster, path, name)

    def copies(names: tuple[str, ...]) -> tuple[WalCopy, ...]:
        return tuple(WalCopy(each, specs(name, _repository_settings(settings, path, name, each))[1]) for each in names)

    return ArchiveSpec(copies(required), copies(optional), _drop_policy(name, cluster.get("wal_drop_after")))


def other_repositories(path: Path, name: str, repository: RepositorySpec) -> tuple[RepositorySpec, ...]:
    """The repositories of a cluster but for one; none where the file does not have the cluster."""
    settings = read(path) if path.exists() else None
    if settings is None or name not in settings.clusters:
        return ()
    copies = archive_spec(settings, path, name).copies
    return tuple(copy.repository for copy in copies if copy.repository.url != repository.url)


def _cluster(settings: Settings, path: Path, name: str) -> Mapping[str, str]:
    if name not in settings.clusters:
        known = ", ".join(sorted(settings.clusters)) or "none"
        raise _error(
            path,
            f"there is no [cluster {name}] (there are: {known}).",
            "Correct the cluster's name, or describe it with the module lifeboat_agent.",
            code="cluster_unknown",
        )
    return settings.clusters[name]


def _repository_names(cluster: Mapping[str, str], path: Path, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The required ones and the optional ones."""
    required, optional = _names(cluster.get("repositories")), _names(cluster.get("optional_repositories"))
    single = cluster.get("repository")
    if single is not None and required:
        raise _error(
            path,
            f"[cluster {name}] has both repository and repositories.",
            "Keep repositories; the first one is used for backups.",
            code="config_invalid",
        )
    required = required or (single or "",)
    names = (*required, *optional)
    if len(set(names)) < len(names):
        raise _error(
            path, f"[cluster {name}] names a repository twice.", "Name each of them once.", code="config_invalid"
        )
    return required, optional


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(filter(None, (word.strip() for word in (text or "").split(","))))


def _repository_settings(settings: Settings, path: Path, name: str, repository: str) -> dict[str, str]:
    """What the section of a cluster's repository says, its url under the name `repository`."""
    if repository not in settings.repositories:
        raise _error(
            path,
            f"[cluster {name}] names the repository {repository!r}, which has no section.",
            "Add [repository NAME] with url, and with key_file or another source of the key.",
            code="config_invalid",
        )
    values = settings.repositories[repository]
    keys = [name for name in _KEYS_IN_FILE if name in values]
    if "url" not in values or not keys:
        lack = "url" if "url" not in values else " or ".join(_KEYS_IN_FILE)
        raise _error(path, f"[repository {repository}] lacks {lack}.", "Add it.", code="config_invalid")
    if len(keys) > 1:
        raise _error(path, f"[repository {repository}] has {' and '.join(keys)}.", "Keep one.", code="config_invalid")
    return {**{key: value for key, value in values.items() if key != "url"}, "repository": values["url"]}


_DROP_AFTER = re.compile(r"(?P<number>[1-9][0-9]*) *(?P<unit>MB|GB|TB)?", re.ASCII)
_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


def _drop_policy(name: str, text: str | None) -> DropPolicy | None:
    if not text:
        return None
    match = _DROP_AFTER.fullmatch(text.strip())
    if match is None:
        raise PreconditionError(
            f"describing the cluster {name}",
            f"{text!r} is no amount of WAL.",
            "Give wal_drop_after as a number of segments, or with MB, GB or TB behind it; without it nothing is ever"
            " dropped.",
            code="setting_invalid",
        )
    number = int(match["number"])
    if match["unit"]:
        return DropPolicy(text, limit_bytes=number * _UNITS[match["unit"]])
    return DropPolicy(text, limit_files=number)


def _retention(settings: Settings, path: Path, cluster: str, name: str | None) -> Mapping[str, str]:
    if name is None:
        return {}
    if name not in settings.retentions:
        raise _error(
            path,
            f"[cluster {cluster}] names the retention {name!r}, which has no section.",
            f"Add [retention {name}] with keep_last or keep_days.",
            code="config_invalid",
        )
    return settings.retentions[name]


def render(
    repositories: Mapping[str, Mapping[str, str]],
    clusters: Mapping[str, Mapping[str, str]],
    retentions: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """The file's text, always the same for the same settings."""
    lines = ["# Written by Lifeboat (module lifeboat_agent); changes made here are overwritten."]
    for kind, sections in (("repository", repositories), ("retention", retentions or {}), ("cluster", clusters)):
        for name in sorted(sections):
            lines += ["", f"[{kind} {name}]"]
            lines += [f"{key} = {value}" for key, value in sorted(sections[name].items())]
    return "\n".join(lines) + "\n"


def text(value: object) -> str:
    """An option's value as it stands in the file: of a list the parts, separated by commas."""
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def overlaid(values: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Settings, and others that win over them one by one; what opens the repository is replaced as a whole."""
    kept = values
    if any(given.get(name) for name in KEY_SETTINGS):
        kept = {name: value for name, value in values.items() if name not in KEY_SETTINGS}
    if "database_url" in given:  # it says the whole of a connection, what is left out in it included
        kept = {name: value for name, value in kept.items() if name not in CONNECTION_KEYS}
    return {**kept, **given}


def specs(name: str, values: Mapping[str, str], password: str | None = None) -> tuple[ClusterSpec, RepositorySpec]:
    """Typed values from flat settings, wherever those came from."""
    if not values.get("repository"):
        raise PreconditionError(
            f"describing the cluster {name}",
            "no repository is given.",
            "Set repository, or name a cluster of lifeboat.conf.",
            code="setting_missing",
            setting="repository",
        )
    key = KeySpec(
        key_file=_path(values.get("key_file")),
        key_command=values.get("key_command") or None,
        passphrase_file=_path(values.get("passphrase_file")),
        passphrase=values.get("passphrase") or None,
    )
    key.require_one(f"opening the repository {values['repository']}")
    cluster = ClusterSpec(
        name=name,
        stanza=values.get("stanza") or name,
        connection=connection_spec(name, values, password),
        data_directory=_path(values.get("data_directory")),
        bin_directory=_path(values.get("bin_dir")),
        method=_method(name, values.get("method")),
        receive=receive_spec(name, values),
        thresholds=thresholds_of(name, values.get(THRESHOLDS_KEY)),
    )
    s3 = S3Spec(
        endpoint=values.get("s3_endpoint") or None,
        region=values.get("s3_region") or None,
        path_style=_truth(name, "s3_path_style", values.get("s3_path_style")),
        ca_file=_path(values.get("s3_ca_file")),
        profile=values.get("s3_profile") or None,
        credentials_file=_path(values.get("s3_credentials_file")),
    )
    return cluster, RepositorySpec(values["repository"], key, s3)


def _method(name: str, text: str | None) -> str:
    method = text or METHODS[0]
    if method not in METHODS:
        raise PreconditionError(
            f"describing the cluster {name}",
            f"{method!r} is no method.",
            f"Give method as {' or '.join(METHODS)}.",
            code="setting_invalid",
        )
    return method


def _truth(name: str, setting: str, text: str | None) -> bool | None:
    if text is None or text == "":
        return None
    if text.lower() not in configparser.ConfigParser.BOOLEAN_STATES:
        raise PreconditionError(
            f"describing the cluster {name}",
            f"{text!r} is neither yes nor no.",
            f"Give {setting} as true or false, or leave it out.",
            code="setting_invalid",
        )
    return configparser.ConfigParser.BOOLEAN_STATES[text.lower()]


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
