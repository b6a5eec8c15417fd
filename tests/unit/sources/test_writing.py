# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writing a backup's files: durable, never through a link, and failures that say what to do."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Stanza
from round_trip import Backup, read, sources_in, write


@pytest.fixture
def backup(stanza: Stanza, tmp_path: Path) -> Backup:
    (tmp_path / "data/base/1").mkdir(parents=True)
    for name in ("PG_VERSION", "base/1/1259", "base/1/1259_fsm"):
        (tmp_path / "data" / name).write_bytes(name.encode() * 1000)
    return read(stanza, sources_in(tmp_path / "data"))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "restored"


def test_what_postgres_will_check_is_the_content_that_was_written(stanza: Stanza, backup: Backup, target: Path) -> None:
    for file in write(stanza, backup, target):
        data = (target / file.path).read_bytes()
        assert file.size == len(data)
        if file.checksum_algorithm == "SHA256":
            assert file.checksum_hex == hashlib.sha256(data).hexdigest()
        else:
            assert (file.checksum_algorithm, len(file.checksum_hex)) == ("CRC32C", 8)


def test_a_link_in_the_way_is_not_followed(stanza: Stanza, backup: Backup, target: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    target.mkdir()
    (target / "PG_VERSION").symlink_to(tmp_path / "precious")
    with expect.failure("restore_write_failed"):
        write(stanza, backup, target)
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_full_disk_is_explained(
    stanza: Stanza, backup: Backup, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_to_a_full_disk(*_ignored: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", write_to_a_full_disk)
    with expect.failure("restore_write_failed") as failure:
        write(stanza, backup, target)
    assert "No space left" in failure.value.message


def test_a_damaged_pack_fails_the_restore(stanza: Stanza, backup: Backup, target: Path) -> None:
    objects = stanza.repository.store.objects  # type: ignore[attr-defined]
    for name in [name for name in objects if "/packs/" in name]:
        objects[name] = objects[name][:-1] + bytes([objects[name][-1] ^ 1])
    with pytest.raises(LifeboatError) as failure:
        write(stanza, backup, target)
    assert failure.value.code == "object_damaged"
