# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of a restored server: PostgreSQL reads from them what was meant."""

from __future__ import annotations

import re
import shlex
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres import old_targets, recovery_settings
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.recovery_settings import (
    RecoveryTarget,
)

AWKWARD = ["plain", "with space", "it's", 'double " quote', "100%", "%p", "back\\slash", "$HOME;`id`", "grüße", ""]


def read_as_postgres_does(text: str) -> str:
    """The value of a quoted setting: what GUC_scanstr makes of it."""
    assert (text[0], text[-1]) == ("'", "'")
    return re.sub(r"''|\\(.)", lambda match: match.group(1) or "'", text[1:-1])


@pytest.mark.parametrize("value", AWKWARD)
def test_a_setting_means_what_it_was(value: str) -> None:
    text = recovery_settings.render("", {"name": value})
    assert read_as_postgres_does(text.splitlines()[-1].removeprefix("name = ")) == value


def test_our_settings_come_after_all_others_because_the_last_wins() -> None:
    for existing in ("port = 5432", "port = 5432\n"):
        lines = recovery_settings.render(existing, {"port": "5433", "archive_mode": "off"}).splitlines()
        assert lines[0] == "port = 5432"
        assert lines[2:] == ["port = '5433'", "archive_mode = 'off'"]


def test_a_target_that_was_reached_is_forgotten_and_nothing_else(tmp_path: Path) -> None:
    target = RecoveryTarget(name="recovery_target_time = 'x'")
    only_for_it = {**target.settings(2), **recovery_settings.unprefetched(15)}
    settings = {"archive_mode": "off", **only_for_it, "restore_command": "recovery_target"}
    theirs = "port = 5432\nrecovery_prefetch = off\n"
    (tmp_path / "postgresql.auto.conf").write_text(recovery_settings.render(theirs, settings))
    old_targets.forget(tmp_path)
    old_targets.forget(tmp_path / "nothing")
    expected = recovery_settings.render(theirs, {"archive_mode": "off", "restore_command": "recovery_target"})
    assert (tmp_path / "postgresql.auto.conf").read_text() == expected


@pytest.mark.parametrize("word", AWKWARD)
def test_a_restore_command_gives_the_shell_the_words_that_were_meant(word: str) -> None:
    line = recovery_settings.restore_command(["lifeboat", "archive-fetch", word], "1a2b")
    replaced = re.sub("%(.)", lambda match: {"%": "%", "f": "FILE", "p": "pg_wal/X"}[match.group(1)], line)
    fetched, _or, command = replaced.partition(" 2>/dev/null || exec ")
    assert shlex.split(fetched) == ["mv", "-f", "pg_wal/lifeboat/fetched/1a2b/FILE", "pg_wal/X"]
    assert shlex.split(command) == ["lifeboat", "archive-fetch", word, "FILE", "pg_wal/X"]


def test_a_target_does_not_depend_on_the_servers_zone() -> None:
    moment = datetime(2026, 11, 21, 14, 30, 0, 123456, timezone(timedelta(hours=1)))
    settings = RecoveryTarget(moment).settings(3)
    assert settings["recovery_target_time"] == "2026-11-21 13:30:00.123456+00"
    assert (settings["recovery_target_timeline"], settings["recovery_target_action"]) == ("3", "promote")


@pytest.mark.parametrize(
    ("target", "name", "value"),
    [
        (RecoveryTarget(lsn=(1 << 32) + 0x16B3748), "recovery_target_lsn", "1/16B3748"),
        (RecoveryTarget(xid=755), "recovery_target_xid", "755"),
        (RecoveryTarget(name="it's \\ here"), "recovery_target_name", "it's \\ here"),
        (RecoveryTarget(immediate=True), "recovery_target", "immediate"),
        (RecoveryTarget(), "", ""),
    ],
)
def test_one_target_is_set_behind_all_others_which_are_taken_back(
    target: RecoveryTarget, name: str, value: str
) -> None:
    """The server takes even an empty one that comes behind another for a second target."""
    kinds = {"recovery_target", *(f"recovery_target_{kind}" for kind in ("time", "lsn", "xid", "name"))}
    settings = target.settings("latest")
    found = [(key, setting) for key, setting in settings.items() if key in kinds]
    assert {key for key, _setting in found} == kinds
    assert [setting for _key, setting in found] == [*[""] * 4, value]
    assert not name or found[-1] == (name, value)
    assert settings["recovery_target_inclusive"] == "on"


@pytest.mark.parametrize(
    "line",
    [
        "data_directory = '/old'",
        "  data_directory='/old'",
        "\tdata_directory\t'/old'",
        "data_directory '/old'",
        "Data_Directory = '/old'",
        "hba_file = '/old/pg_hba.conf'",
        "ident_file = '/old/pg_ident.conf'",
        "external_pid_file = '/run/old.pid'",
    ],
)
def test_places_of_the_original_are_commented(line: str) -> None:
    text = recovery_settings.without_locations(f"port = 1\n\n{line}\n\nwork_mem = '8MB'\n")
    assert [each for each in text.splitlines() if each and not each.startswith("#")] == ["port = 1", "work_mem = '8MB'"]
    assert line.strip() in text


@pytest.mark.parametrize("line", ["# data_directory = '/x'", "data_directory_mode = 0700", "port = 1 # hba_file", ""])
def test_everything_else_stays(line: str) -> None:
    assert recovery_settings.without_locations(f"{line}\n") == f"{line}\n"
