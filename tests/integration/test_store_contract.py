# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every store promises (the tests of the local one), held against a bucket in a real server, by http and https."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import S3Spec
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.base import Store
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.s3 import S3Store
from harness import CHECKOUT
from harness.s3 import Place, S3Server

sys.path += [str(CHECKOUT / "tests/unit"), str(CHECKOUT / "tests/unit/store")]
from test_store import (
    test_a_list_is_of_names_that_start_with_a_string_sorted_as_whole_names,
    test_a_range_beyond_the_end_is_an_error,
    test_a_range_is_exactly_what_was_asked_for,
    test_abort_after_commit_is_harmless,
    test_an_object_is_visible_only_when_committed,
    test_an_object_that_is_missing_is_named,
    test_if_absent_leaves_what_is_there,
    test_putting_again_replaces,
    test_what_is_not_committed_leaves_nothing,
    test_what_was_deleted_is_gone_and_deleting_again_is_no_error,
    test_what_was_put_is_there,
)

# Run here for these stores too: pytest collects what is imported.
CONTRACT = (
    test_a_list_is_of_names_that_start_with_a_string_sorted_as_whole_names,
    test_a_range_beyond_the_end_is_an_error,
    test_a_range_is_exactly_what_was_asked_for,
    test_abort_after_commit_is_harmless,
    test_an_object_is_visible_only_when_committed,
    test_an_object_that_is_missing_is_named,
    test_if_absent_leaves_what_is_there,
    test_putting_again_replaces,
    test_what_is_not_committed_leaves_nothing,
    test_what_was_deleted_is_gone_and_deleting_again_is_no_error,
    test_what_was_put_is_there,
)


def resolve_local_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """All names below localhost are this machine, which not every resolver knows."""
    look_up = socket.getaddrinfo

    def look_up_locally(host: str, *arguments: Any, **options: Any) -> Any:
        return look_up("127.0.0.1" if host.endswith(".localhost") else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up_locally)


@pytest.fixture(params=["http", "https", "virtual host"])
def store(
    request: pytest.FixtureRequest, s3: S3Server, s3_place: Place, s3_spec: S3Spec, monkeypatch: pytest.MonkeyPatch
) -> Store:
    if request.param == "https":
        s3_spec = replace(s3_spec, endpoint=s3.tls_endpoint, ca_file=s3.ca_file)
    if request.param == "virtual host":
        resolve_local_names(monkeypatch)
        s3_spec = replace(s3_spec, endpoint=s3.virtual_host_endpoint, ca_file=s3.ca_file, path_style=False)
    return S3Store(s3_place.url, s3_spec)
