# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key files: only their owner reads them, and nothing else is taken for one."""

from __future__ import annotations

import base64
from pathlib import Path

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.key_files import (
    generate_key_file,
    read_key_file,
)


def test_a_new_key_can_be_read_by_its_owner_alone_and_is_another_each_time(tmp_path: Path, strict_umask: None) -> None:
    made = [generate_key_file(tmp_path / name) for name in ("one", "two")]
    assert [read_key_file(tmp_path / name) for name in ("one", "two")] == made
    assert made[0].key_id != made[1].key_id
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o400}


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    key = generate_key_file(tmp_path / "key")
    with expect.failure("key_file_exists"):
        generate_key_file(tmp_path / "key")
    assert read_key_file(tmp_path / "key") == key
    assert len(list(tmp_path.iterdir())) == 1


def test_a_key_file_that_cannot_be_written_is_explained(tmp_path: Path) -> None:
    with expect.failure("key_file_not_writable"):
        generate_key_file(tmp_path / "nowhere/key")


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440])
def test_a_key_file_for_its_owner_is_read(tmp_path: Path, mode: int) -> None:
    key = generate_key_file(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    assert read_key_file(tmp_path / "key") == key


@pytest.mark.parametrize("mode", [0o404, 0o402, 0o401, 0o420, 0o410, 0o666])
def test_a_key_file_for_others_is_refused(tmp_path: Path, mode: int) -> None:
    generate_key_file(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with expect.failure("key_file_permissions") as failure:
        read_key_file(tmp_path / "key")
    assert f"{mode:04o}" in failure.value.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "something else",
        "lifeboat-key-1:",
        "lifeboat-key-1:" + base64.urlsafe_b64encode(bytes(31)).decode(),
        "lifeboat-key-1:" + base64.urlsafe_b64encode(bytes(33)).decode(),
        "lifeboat-key-1:ä",
        "lifeboat-key-2:" + base64.urlsafe_b64encode(bytes(32)).decode(),
        "\nlifeboat-key-1:" + base64.urlsafe_b64encode(bytes(32)).decode(),
    ],
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text(text)
    (tmp_path / "key").chmod(0o400)
    with expect.failure("key_file_invalid"):
        read_key_file(tmp_path / "key")


def test_a_key_file_that_is_missing_or_not_a_file_is_explained(tmp_path: Path) -> None:
    with expect.failure("key_file_missing"):
        read_key_file(tmp_path / "key")
    with expect.failure("key_file_not_readable"):
        read_key_file(tmp_path)
