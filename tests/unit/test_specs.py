# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user said, as values that can be shown."""

from __future__ import annotations

import logging
from pathlib import Path

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import (
    ClusterSpec,
    ConnectionSpec,
    KeySpec,
    RepositorySpec,
    S3Spec,
)


def test_no_way_to_show_them_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    cluster = ClusterSpec("main", "main", ConnectionSpec(host="db", password="hunter2"))
    repository = RepositorySpec("/srv", KeySpec(passphrase="hunter2"))
    for spec in (cluster, cluster.connection, repository, repository.key):
        logging.warning("%s %r", spec, spec)
        assert "hunter2" not in f"{spec} {spec!r} {[spec]} { ({'spec': spec}) }"
    assert "hunter2" not in caplog.text
    assert "'db'" in repr(cluster)


def test_the_command_is_told_the_same() -> None:
    spec = RepositorySpec(
        "s3://bucket/prefix", KeySpec(key_file=Path("/k")), S3Spec(region="eu-central-1", path_style=False)
    )
    options = spec.command_options()
    given = dict(zip(options[::2], options[1::2]))
    assert given == {
        "--repository": "s3://bucket/prefix",
        "--key-file": "/k",
        "--s3-region": "eu-central-1",
        "--s3-path-style": "False",
    }


def test_a_passphrase_is_never_in_a_command_line() -> None:
    with expect.failure("passphrase_not_in_a_file") as failure:
        RepositorySpec("/srv", KeySpec(passphrase="hunter2")).command_options()
    assert "hunter2" not in failure.value.message


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (KeySpec(), "setting_missing"),
        (KeySpec(key_file=Path("/k"), key_command="c"), "key_ambiguous"),
        (KeySpec(passphrase="p", passphrase_file=Path("/p")), "key_ambiguous"),
    ],
)
def test_there_is_one_place_for_the_key(key: KeySpec, code: str) -> None:
    with expect.failure(code):
        key.require_one("opening the repository")
