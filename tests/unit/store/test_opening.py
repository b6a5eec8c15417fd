# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository's URL leads to the place it names, or nowhere."""

from __future__ import annotations

from pathlib import Path

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import KeySpec, RepositorySpec
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.local import LocalStore
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.opening import (
    local_directory,
    open_store,
)


def at(url: str) -> RepositorySpec:
    return RepositorySpec(url, KeySpec(Path("/etc/lifeboat/main.key")))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("/srv/lifeboat", "/srv/lifeboat"),
        ("/srv/lifeboat/", "/srv/lifeboat"),
        ("file:///srv/lifeboat", "/srv/lifeboat"),
        ("/srv/disk#2/what?/100%", "/srv/disk#2/what?/100%"),
        ("/srv/a:b", "/srv/a:b"),
    ],
)
def test_a_path_is_taken_as_it_is(url: str, path: str) -> None:
    store = open_store(at(url))
    assert isinstance(store, LocalStore)
    assert store.root == local_directory(at(url)) == Path(path)


@pytest.mark.parametrize("url", ["srv/lifeboat", "", "./x", "~/backups", "file://host/srv", "file:relative"])
def test_what_is_no_absolute_path_is_refused(url: str) -> None:
    with expect.failure("repository_path_relative"):
        open_store(at(url))


@pytest.mark.parametrize("url", ["azure://secret@x", "ftp://u:secret@h/"])
def test_an_unknown_scheme_is_refused_without_giving_secrets_away(url: str) -> None:
    with expect.failure("repository_scheme_unsupported") as failure:
        open_store(at(url))
    assert "secret" not in failure.value.message


def test_a_bucket_is_opened_without_being_looked_at() -> None:
    assert open_store(at("s3://bucket/some/prefix/")).url == "s3://bucket/some/prefix"
    assert local_directory(at("s3://bucket")) is None


@pytest.mark.parametrize(
    "url", ["s3://key:secret@bucket/prefix", "s3://bucket/x?secret=secret", "s3:///secret", "s3://bucket/../secret"]
)
def test_a_bucket_is_named_with_bucket_and_prefix_only(url: str) -> None:
    with expect.failure("repository_url_invalid") as failure:
        open_store(at(url))
    assert "secret" not in failure.value.message
