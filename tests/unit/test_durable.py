# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are replaced whole and durably, with the mode that was asked for."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import durable


def modes(*paths: Path) -> list[int]:
    return [path.stat().st_mode & 0o7777 for path in paths]


def test_a_file_is_durable_before_it_gets_its_name_and_then_the_name_is(tmp_path: Path, durability: list[str]) -> None:
    durable.write_file(tmp_path / "file", b"bytes", 0o600)
    assert (tmp_path / "file").read_bytes() == b"bytes"
    assert durability == ["sync temporary file", "rename temporary file to file", f"sync {tmp_path.name}"]


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o644, 0o755])
def test_the_umask_decides_nothing(tmp_path: Path, strict_umask: None, mode: int) -> None:
    durable.write_file(tmp_path / "file", b"", mode)
    durable.make_directories(tmp_path / "a/b", 0o755)
    assert modes(tmp_path / "file", tmp_path / "a", tmp_path / "a/b") == [mode, 0o755, 0o755]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "broken")

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken"):
        durable.write_file(tmp_path / "file", b"new", 0o600)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("untouched")
    (tmp_path / "link").symlink_to("elsewhere")
    durable.write_file(tmp_path / "link", b"new", 0o600)
    assert (tmp_path / "elsewhere").read_text() == "untouched"
    assert not (tmp_path / "link").is_symlink()


def test_directories_that_exist_are_left_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o711)
    durable.make_directories(tmp_path / "theirs/ours", 0o700)
    durable.make_directories(tmp_path / "theirs", 0o700)
    assert modes(tmp_path / "theirs", tmp_path / "theirs/ours") == [0o711, 0o700]
