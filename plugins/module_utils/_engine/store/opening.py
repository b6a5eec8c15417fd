# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a repository's URL to its store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from ..errors import PreconditionError, UnsupportedError
from .local import LocalStore


def open_store(url: str) -> LocalStore:
    """The store that `url` names: an absolute path, or `file:///path`."""
    parts = urlsplit(url)
    if parts.scheme not in ("", "file"):
        raise UnsupportedError(
            f"opening the repository {parts.scheme}://{parts.hostname or ''}",
            f"the scheme {parts.scheme!r} is not supported by this version.",
            "Give an absolute path such as /srv/lifeboat.",
            code="repository_scheme_unsupported",
        )
    path = Path(url.removeprefix("file://"))  # and not parts.path: a path may hold # and ?
    if not path.is_absolute():
        raise PreconditionError(
            f"opening the repository {url!r}",
            "it is not an absolute path.",
            "Give an absolute path such as /srv/lifeboat.",
            code="repository_path_relative",
        )
    return LocalStore(path)
