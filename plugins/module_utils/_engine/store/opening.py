# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a repository's URL to its store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from ..errors import PreconditionError, UnsupportedError
from ..specs import RepositorySpec
from ..thirdparty import preload
from .base import Store
from .local import LocalStore


def open_store(spec: RepositorySpec) -> Store:
    """The store that the repository's URL names. Nothing is looked at before it is used."""
    if _scheme(spec) == "s3":
        from .s3 import S3Store

        return S3Store(spec.url, spec.s3)
    return LocalStore(_local_path(spec))


def local_directory(spec: RepositorySpec) -> Path | None:
    """The directory of a repository on this machine; None for one elsewhere."""
    return _local_path(spec) if _scheme(spec) == "file" else None


def prepare(spec: RepositorySpec) -> None:
    """Import and load what using the store takes, before privileges are dropped."""
    if _scheme(spec) == "s3":
        from . import s3, s3_client

        s3.parse_url(spec.url)
        preload(s3_client.THIRD_PARTY)
        s3_client.warm_up()


def _scheme(spec: RepositorySpec) -> str:
    scheme = urlsplit(spec.url).scheme or "file"
    if scheme not in ("file", "s3"):
        raise UnsupportedError(
            f"opening a repository with a URL that begins with {scheme}:",
            f"the scheme {scheme!r} is not supported by this version.",
            "Give an absolute path such as /srv/lifeboat, or s3://bucket/prefix.",
            code="repository_scheme_unsupported",
        )
    return scheme


def _local_path(spec: RepositorySpec) -> Path:
    path = Path(spec.url.removeprefix("file://"))  # and not the URL's path alone: a path may hold # and ?
    if not path.is_absolute():
        raise PreconditionError(
            f"opening the repository {spec.url!r}",
            "it is not an absolute path.",
            "Give an absolute path such as /srv/lifeboat, or s3://bucket/prefix.",
            code="repository_path_relative",
        )
    return path
