# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The desired state of command and configuration file: check mode predicts, a second run changes nothing."""

from __future__ import annotations

import grp
import os
import sys
from pathlib import Path
from typing import Any

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import agent
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import retention_policy
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.agent_bundle import Installation

TEXT = "[repository local]\nurl = /srv\n"


@pytest.fixture(autouse=True)
def little_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is installed does not matter here."""
    monkeypatch.setattr(agent, "engine_sources", lambda: {"__init__.py": b"", "cli.py": b"def main():\n    return 0\n"})


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "host"


def present(
    place: Path,
    text: str = TEXT,
    group: str | None = None,
    clusters: dict[str, dict[str, str]] | None = None,
    *,
    check_mode: bool = False,
) -> dict[str, Any]:
    installation = Installation(place / "usr", sys.executable)
    return agent.present(installation, place / "etc/lifeboat.conf", text, clusters or {}, group, check_mode=check_mode)


def absent(place: Path, *, check_mode: bool = False) -> dict[str, Any]:
    installation = Installation(place / "usr", sys.executable)
    return agent.absent(installation, place / "etc/lifeboat.conf", check_mode=check_mode)


def everything_in(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*")}


def test_check_mode_changes_nothing_and_predicts_what_the_run_then_does(place: Path) -> None:
    predicted = present(place, check_mode=True)
    assert not place.exists()
    assert present(place) == predicted
    assert predicted["changed"]
    assert (place / "etc/lifeboat.conf").read_text() == TEXT
    again = present(place)
    assert not again["changed"]
    assert present(place, check_mode=True) == again
    assert all(diff["before"] == diff["after"] for diff in again["diff"])


def test_another_text_changes_the_file_alone(place: Path) -> None:
    present(place)
    before = everything_in(place)
    changed = present(place, "# another\n")
    assert changed["changed"]
    assert (changed["diff"][0]["before"], changed["diff"][0]["after"]) == (TEXT, "# another\n")
    assert changed["diff"][1]["before"] == changed["diff"][1]["after"]
    assert everything_in(place) == before


def test_who_may_read_the_file_is_part_of_the_desired_state(place: Path, strict_umask: None) -> None:
    file = place / "etc/lifeboat.conf"
    present(place)
    assert file.stat().st_mode & 0o777 == 0o644
    group = grp.getgrgid(os.getgid()).gr_name
    assert present(place, group=group)["changed"]
    assert (file.stat().st_mode & 0o777, file.stat().st_gid) == (0o640, os.getgid())
    assert not present(place, group=group)["changed"]
    file.chmod(0o666)
    assert present(place, group=group)["changed"]
    with expect.failure("unknown_group"):
        present(place, group="no-such-group")


def test_what_was_there_can_be_taken_away(place: Path) -> None:
    assert not absent(place)["changed"]
    present(place)
    assert absent(place, check_mode=True)["changed"]
    assert (place / "etc/lifeboat.conf").exists()
    assert absent(place)["changed"]
    assert not absent(place)["changed"]
    assert not [name for name in everything_in(place) if "lifeboat" in name]


def test_what_may_not_be_written_is_explained(place: Path) -> None:
    place.mkdir()
    (place / "usr").write_text("a file is in the way")
    with expect.failure("install_not_permitted"):
        present(place)


def test_the_interpreter_must_be_one(tmp_path: Path) -> None:
    assert not agent.other_interpreter(sys.executable)
    assert agent.other_interpreter("/bin/sh")
    with expect.failure("interpreter_missing"):
        agent.other_interpreter(str(tmp_path / "python"))


def test_what_was_left_out_stays_out_of_the_file() -> None:
    described = [{"name": "main", "repository": "local", "login_port": 5433, "stanza": None}]
    assert agent.sections(described) == {"main": {"repository": "local", "login_port": "5433"}}


def test_lists_stand_in_the_file_as_the_engine_reads_them() -> None:
    described = agent.sections(
        [{"name": "standard", "keep_last": ["7", "pre_migration=2"], "keep_days": None, "grace_hours": 12.0}]
    )
    assert described == {"standard": {"keep_last": "7, pre_migration=2", "grace_hours": "12.0"}}
    policy = retention_policy.parse(described["standard"])
    assert (policy.last_of("manual"), policy.last_of("pre_migration")) == (7, 2)


def test_a_file_with_a_password_is_not_for_everybody(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_url, secret = ({"main": {"database_url": url}} for url in ("postgres://u@h", "postgres://u:hunter2@h"))
    config_file = place / "etc/lifeboat.conf"
    monkeypatch.setattr(agent.os, "geteuid", lambda: 0)
    with expect.failure("config_group_needed"):
        present(place, clusters=secret)
    assert not config_file.exists()
    present(place, clusters=open_url)
    assert config_file.stat().st_mode & 0o777 == 0o644
    present(place, clusters=secret, group=grp.getgrgid(os.getegid()).gr_name)
    assert config_file.stat().st_mode & 0o777 == 0o640
    monkeypatch.setattr(agent.os, "geteuid", lambda: 1000)
    present(place, clusters=secret)
    assert config_file.stat().st_mode & 0o777 == 0o600


def test_a_connection_that_cannot_be_understood_is_refused_before_it_is_written() -> None:
    with expect.failure("database_url_unknown_scheme"):
        agent.cluster_sections([{"name": "main", "database_url": "mysql://h"}])
