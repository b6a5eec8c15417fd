# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 client is made as the user's settings say, and keeps their secrets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import botocore.config
import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import KeySpec, RepositorySpec, S3Spec
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.s3_client import make_client

SECRET = "wJalrXUtnFEMI"
FILE = f"""\
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key = {SECRET}

[other]
aws_access_key_id=AKIAOTHER
aws_secret_access_key={SECRET}/%(percent
aws_session_token = session
region = ignored-here
"""


@pytest.fixture(autouse=True)
def nothing_of_the_developers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in [variable for variable in os.environ if variable.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def credentials_file(tmp_path: Path) -> Path:
    path = tmp_path / "s3.credentials"
    path.write_text(FILE)
    path.chmod(0o400)
    return path


def client(**settings: Any) -> Any:
    return make_client(S3Spec(**settings), connections=1, connect_timeout=1, read_timeout=1)


def keys(made: Any) -> tuple[str, str, str | None]:
    frozen = made._get_credentials().get_frozen_credentials()
    return frozen.access_key, frozen.secret_key, frozen.token


def test_the_users_file_decides_whatever_the_environment_says(
    credentials_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    assert keys(client(credentials_file=credentials_file)) == ("AKIADEFAULT", SECRET, None)


def test_a_section_of_the_users_file_is_a_profile(credentials_file: Path) -> None:
    made = client(credentials_file=credentials_file, profile="other")
    assert keys(made) == ("AKIAOTHER", f"{SECRET}/%(percent", "session")


@pytest.mark.parametrize("mode", [0o404, 0o620, 0o644])
def test_a_file_that_others_can_read_is_refused(credentials_file: Path, mode: int) -> None:
    credentials_file.chmod(mode)
    with expect.failure("credentials_file_permissions"):
        client(credentials_file=credentials_file)


def test_a_file_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with expect.failure("credentials_file_not_readable") as failure:
        client(credentials_file=tmp_path / "none")
    assert str(tmp_path / "none") in failure.value.message


@pytest.mark.parametrize(
    ("text", "profile"),
    [
        ("", None),
        (FILE, "third"),
        (f"[default]\naws_secret_access_key = {SECRET}\n", None),
        (f"{SECRET}\n", None),
        (f"[default]\n{SECRET}\n", None),
        (FILE + FILE, None),
    ],
    ids=["empty", "no such section", "half of it", "no section", "no setting", "twice"],
)
def test_a_file_without_keys_is_refused_and_not_quoted(credentials_file: Path, text: str, profile: str | None) -> None:
    credentials_file.chmod(0o600)
    credentials_file.write_text(text)
    with expect.failure("credentials_file_invalid") as failure:
        client(credentials_file=credentials_file, profile=profile)
    assert SECRET not in str(failure.value.as_dict())
    assert failure.value.__suppress_context__  # a traceback would quote the file, too


def test_no_secret_is_in_what_describes_a_repository(credentials_file: Path) -> None:
    spec = RepositorySpec("s3://bucket", KeySpec(key_file=Path("key")), S3Spec(credentials_file=credentials_file))
    assert SECRET not in repr(spec) + repr(spec.command_options())


@pytest.mark.parametrize(
    ("settings", "style"),
    [
        ({}, "auto"),
        ({"endpoint": "http://127.0.0.1"}, "path"),
        ({"endpoint": "http://127.0.0.1", "path_style": False}, "virtual"),
        ({"path_style": True}, "path"),
    ],
)
def test_buckets_are_addressed_as_the_server_is_likely_to_understand(settings: dict[str, Any], style: str) -> None:
    assert client(**settings).meta.config.s3["addressing_style"] == style


def test_the_region_is_the_users_or_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert client().meta.region_name == "us-east-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    assert client().meta.region_name == "eu-west-1"
    assert client(region="eu-north-1").meta.region_name == "eu-north-1"


def test_a_missing_file_of_authorities_is_named(tmp_path: Path) -> None:
    with expect.failure("ca_file_not_readable"):
        client(ca_file=tmp_path / "none")


def test_checksums_that_other_servers_do_not_know_are_left_out() -> None:
    config = client().meta.config
    for option in ("request_checksum_calculation", "response_checksum_validation"):
        if option in botocore.config.Config.OPTION_DEFAULTS:
            assert getattr(config, option) == "when_required"
    assert config.s3["payload_signing_enabled"]
