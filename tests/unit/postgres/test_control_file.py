# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`pg_control` and `PG_VERSION`: what is damaged, torn, foreign or missing. Real files are in the integration tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import (
    IntegrityError,
    PreconditionError,
    UnsupportedError,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres import control_file
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.control_file import ClusterState

ControlBytes = Callable[..., bytes]


@pytest.fixture
def data_directory(tmp_path: Path, control_bytes: ControlBytes) -> Path:
    (tmp_path / "global").mkdir()
    (tmp_path / control_file.CONTROL_FILE).write_bytes(control_bytes())
    (tmp_path / "PG_VERSION").write_text("15\n")
    return tmp_path


def test_fields_are_read(control_bytes: ControlBytes) -> None:
    control = control_file.parse(control_bytes({252: ("<I", 1), 144: ("<I", 3), 136: ("<Q", 0x3000060)}))
    assert control.system_identifier == 7380000000000000001
    assert control.state is ClusterState.IN_PRODUCTION
    assert control.wal_level == "replica"
    assert (control.min_recovery_end_timeline, control.min_recovery_end_lsn) == (3, 0x3000060)
    assert control.data_checksums


def test_each_flipped_bit_is_noticed(control_bytes: ControlBytes) -> None:
    good = control_bytes()
    format_version = range(8 * 8, 12 * 8)
    for bit in range(292 * 8):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises((IntegrityError, UnsupportedError)) as caught:
            control_file.parse(bytes(damaged))
        expected = "postgres_version_unsupported" if bit in format_version else "control_file_damaged"
        assert caught.value.code == expected


@pytest.mark.parametrize("length", [0, 11, 287, 288, 291])
def test_a_short_file_is_damaged(control_bytes: ControlBytes, length: int) -> None:
    with pytest.raises(IntegrityError) as caught:
        control_file.parse(control_bytes()[:length])
    assert caught.value.code == "control_file_damaged"


@pytest.mark.parametrize("control_version", [1201, 1301, 1900, 1300 << 16])
def test_formats_of_other_versions_and_machines_are_not_guessed_at(
    control_bytes: ControlBytes, control_version: int
) -> None:
    with pytest.raises(UnsupportedError) as caught:
        control_file.parse(control_bytes({8: ("<I", control_version)}))
    assert caught.value.code == "postgres_version_unsupported"


def test_the_checksum_of_version_18_is_elsewhere(control_bytes: ControlBytes) -> None:
    assert control_file.parse(control_bytes({8: ("<I", 1800)}, crc_offset=292)).timeline == 1
    with pytest.raises(IntegrityError):
        control_file.parse(control_bytes({8: ("<I", 1800)}, crc_offset=288))


@pytest.mark.parametrize("change", [{216: ("<I", 32768)}, {220: ("<I", 65536)}])
def test_other_builds_are_refused(control_bytes: ControlBytes, change: dict[int, tuple[str, int]]) -> None:
    with pytest.raises(UnsupportedError) as caught:
        control_file.parse(control_bytes(change))
    assert caught.value.code == "block_size_unsupported"


def test_a_torn_read_is_repeated(data_directory: Path, control_bytes: ControlBytes) -> None:
    old, new = control_bytes(), control_bytes({40: ("<Q", 0x1000028), 32: ("<Q", 0x1000060), 104: ("<q", 1760000000)})
    path = data_directory / control_file.CONTROL_FILE
    path.write_bytes(new[:100] + old[100:])
    pauses: list[float] = []

    def writer_goes_on(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            path.write_bytes(new)

    assert control_file.read_bytes(data_directory, pause=writer_goes_on) == new
    assert len(pauses) == 3


def test_lasting_damage_is_an_error_that_names_the_file(data_directory: Path, control_bytes: ControlBytes) -> None:
    path = data_directory / control_file.CONTROL_FILE
    path.write_bytes(b"\xff" + control_bytes()[1:])
    pauses: list[float] = []
    with pytest.raises(IntegrityError) as caught:
        control_file.read(data_directory, attempts=4, pause=pauses.append)
    assert caught.value.code == "control_file_damaged"
    assert str(path) in caught.value.message
    assert len(pauses) == 3


def test_version(data_directory: Path) -> None:
    assert control_file.version(data_directory) == 15


@pytest.mark.parametrize("text", ["9.6\n", "12\n", "19\n", "", "fifteen\n", "¹⁵\n"])
def test_other_versions_are_unsupported(data_directory: Path, text: str) -> None:
    (data_directory / "PG_VERSION").write_text(text)
    with pytest.raises(UnsupportedError) as caught:
        control_file.version(data_directory)
    assert caught.value.code == "postgres_version_unsupported"


def test_what_is_no_data_directory_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        for read in (control_file.version, control_file.read):
            with pytest.raises(PreconditionError) as caught:
                read(path)
            assert caught.value.code == "not_a_data_directory"


def test_what_cannot_be_read_is_called_so(data_directory: Path) -> None:
    (data_directory / "PG_VERSION").unlink()
    (data_directory / "PG_VERSION").mkdir()  # not even root can read this one
    with pytest.raises(PreconditionError) as caught:
        control_file.version(data_directory)
    assert caught.value.code == "data_directory_unreadable"
