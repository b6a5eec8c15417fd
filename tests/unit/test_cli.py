# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command `lifeboat`: what it says by its status, above all to PostgreSQL."""

from __future__ import annotations

import json
import os
import pwd
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import cli, cli_jobs, config, retention_policy
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.retention import expire
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.wal import fetch
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import access
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.key_files import generate_key_file
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.repository import create
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.wal import WalArchive
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import KeySpec, RepositorySpec
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.local import LocalStore
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.version import VERSION

COMMANDS = [
    "backup",
    "dump",
    "restore-dump",
    "expire",
    "info",
    "restore",
    "restore-point",
    "verify",
    "claim",
    "archive-push",
    "archive-pusher",
    "archive-fetch",
    "archive-fetcher",
]
LIFE = "1" * 16
HISTORY = "00000002.history"


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """A repository, with a stanza that has archived a file."""
    store = LocalStore(tmp_path / "repository")
    store.create()
    create(store, generate_key_file(tmp_path / "key"), SystemClock())
    stanza = access.stanza_of(RepositorySpec(store.url, KeySpec(tmp_path / "key")), "main")
    life = stanza.register(7380000000000000001, 15, 1 << 20, SystemClock(), LIFE)
    WalArchive(stanza, life).store(HISTORY, b"1\t0/500000\tno reason\n")
    return ["--repository", store.url, "--key-file", str(tmp_path / "key"), "--stanza", "main"]


# --- help and version


@pytest.mark.parametrize("command", [[], *([command] for command in COMMANDS)])
def test_every_command_explains_itself(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "usage: lifeboat" in shown
    assert command or all(each in shown for each in COMMANDS)


def test_all_commands_are_tried_here() -> None:
    assert {*cli_jobs.COMMANDS, "claim", "archive-push", "archive-pusher", "archive-fetch", "archive-fetcher"} == set(
        COMMANDS
    )


def test_it_knows_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"lifeboat {VERSION}\n"


# --- what PostgreSQL is told


def test_a_file_that_is_archived_is_fetched(options: list[str], tmp_path: Path) -> None:
    assert cli.main(["archive-fetch", *options, HISTORY, str(tmp_path / "fetched")]) == 0
    assert (tmp_path / "fetched").read_text() == "1\t0/500000\tno reason\n"


def test_a_file_that_is_not_archived_is_the_end_of_the_archive(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["archive-fetch", *options, "00000003.history", str(tmp_path / "fetched")]) == 1
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("error", [ZeroDivisionError, ImportError, KeyboardInterrupt, MemoryError, SystemExit("x")])
def test_no_failure_looks_like_the_end_of_the_archive(
    options: list[str], monkeypatch: pytest.MonkeyPatch, error: Any
) -> None:
    def fail(request: object) -> bool:
        raise error

    monkeypatch.setattr(fetch, "fetch", fail)
    assert cli.main(["archive-fetch", *options, HISTORY, "x"]) > 125


@pytest.mark.parametrize(
    "arguments",
    [
        ["--stanza", "unknown"],
        ["--key-file", "/nowhere"],
        ["--repository", "/nowhere"],
        ["--repository", "relative"],
        ["--cluster", "main", "--config", "/nowhere"],
        ["--option-of-tomorrow", "x"],
        ["--incarnation", "of nobody"],
        ["one argument too many"],
    ],
)
def test_neither_does_a_mistake_in_restore_command(
    options: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert cli.main(["archive-fetch", *options, *arguments, HISTORY, "x"]) > 125
    assert "error" in capsys.readouterr().err


@pytest.mark.parametrize("command", [command for command in COMMANDS if command != "archive-fetch"])
def test_every_other_failure_is_a_plain_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--no-such-option"]) == 1
    needed = {
        "restore": ["--destination", "/nowhere/data"],
        "restore-point": ["here"],
        "archive-push": ["/nowhere/pg_wal/x"],
        "claim": ["timeline"],
        "archive-fetcher": ["--incarnation", LIFE],
    }
    capsys.readouterr()
    assert cli.main([command, "--repository", "/nowhere", "--key-file", "/nowhere/key", *needed.get(command, [])]) == 1
    said = capsys.readouterr().err.splitlines()[-1]  # behind what it had begun to do
    assert re.fullmatch(rf"lifeboat {command}: error \[\w+\]: .+", said)
    assert cli.main([]) == 1


def test_a_file_is_archived_once(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "00000005.history").write_text("1\t0/500000\tno reason\n")
    assert cli.main(["archive-push", *options, str(tmp_path / "00000005.history")]) == 1  # nobody has claimed it
    push = ["archive-push", *options, "--incarnation", LIFE]
    for _ignored in range(2):
        assert cli.main([*push, str(tmp_path / "00000005.history")]) == 0
    (tmp_path / "00000005.history").write_text("something else")
    assert cli.main([*push, str(tmp_path / "00000005.history")]) == 1


# --- where settings come from


def test_options_win_over_the_configuration_file(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lifeboat.conf"
    repository = {"url": options[1], "key_file": options[3]}
    clusters = {"db": {"repository": "local", "stanza": "main"}, "wrong": {"repository": "local", "stanza": "nobody's"}}
    file.write_text(config.render({"local": repository}, clusters))
    assert cli.main(["info", "--config", str(file), "--cluster", "db", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["system_identifier"] == "7380000000000000001"
    assert cli.main(["info", "--config", str(file), "--cluster", "wrong", "--stanza", "main", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stanza"] == "main"
    assert cli.main(["info", "--config", str(file), "--cluster", "nobody"]) == 1


def test_options_are_never_abbreviated(options: list[str]) -> None:
    assert cli.main(["info", *options, "--js"]) == 1


def test_classes_are_those_that_policies_know() -> None:
    assert cli._CLASSES == retention_policy.CLASSES
    assert cli._CLASSES[0] == retention_policy.DEFAULT_CLASS


def test_a_policy_comes_from_the_file_and_from_options(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "lifeboat.conf"
    repository = {"url": options[1], "key_file": options[3]}
    policies = {"long": {"keep_last": "7, pre_migration=2", "keep_days": "30", "grace_hours": "1"}}
    file.write_text(
        config.render({"local": repository}, {"main": {"repository": "local", "retention": "long"}}, policies)
    )
    asked: list[expire.ExpireRequest] = []
    me = ["--owner", pwd.getpwuid(os.geteuid()).pw_name]
    run = expire.run

    def noted(request: expire.ExpireRequest, *rest: Any, **how: Any) -> expire.ExpireResult:
        asked.append(request)
        return run(request, *rest, **how)

    monkeypatch.setattr(expire, "run", noted)
    assert cli.main(["expire", "--config", str(file), "--cluster", "main", *me, "--keep-days", "3,manual=1"]) == 0
    assert capsys.readouterr().out == "there is nothing to keep and nothing to remove\n"
    assert cli.main(["expire", *options, *me, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] is False
    assert [request.policy for request in asked] == [
        retention_policy.Policy({"": 7, "pre_migration": 2}, {"": 3, "manual": 1}, None, timedelta(hours=1)),
        retention_policy.Policy(),
    ]
    assert cli.main(["expire", *options, "--keep-last", "all"]) == 1
    assert "[setting_invalid]" in capsys.readouterr().err


def test_info_is_for_people_too(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", *options]) == 0
    assert capsys.readouterr().out == f"main in {options[1]}\n  WAL: 0 segments, newest none\n  no backups\n"
