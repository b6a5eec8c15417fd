# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Providers: each gives the key that it has, one at a time, and no failure gives it away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository import key_providers
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.key_files import (
    generate_key_file,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.key_providers import holder_of
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.keys import WrappingKey
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.passphrases import Passphrase
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import KeySpec, RepositorySpec

WORDS = "correct horse battery staple"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    generate_key_file(tmp_path / "the key")
    return tmp_path / "the key"


@pytest.fixture
def key(key_file: Path) -> WrappingKey:
    found = holder_of(KeySpec(key_file=key_file))
    assert isinstance(found, WrappingKey)
    return found


def script(folder: Path, text: str) -> str:
    path = folder / "script"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o700)
    return str(path)


def test_a_file_and_a_command_give_the_same_key(key_file: Path, key: WrappingKey) -> None:
    found = holder_of(KeySpec(key_command=f"cat '{key_file}'"))
    assert isinstance(found, WrappingKey)
    assert (found.secret, found.key_id) == (key.secret, key.key_id)
    assert (key.provider, found.provider) == ("file", "command")


def test_passphrases_come_from_a_file_or_directly(tmp_path: Path) -> None:
    (tmp_path / "phrase").write_text(WORDS + "\n")
    (tmp_path / "phrase").chmod(0o400)
    for spec in (KeySpec(passphrase_file=tmp_path / "phrase"), KeySpec(passphrase=WORDS)):
        assert isinstance(holder_of(spec), Passphrase)


def test_none_and_two_are_refused(key_file: Path) -> None:
    with expect.failure("setting_missing"):
        holder_of(KeySpec())
    with expect.failure("key_ambiguous") as failure:
        holder_of(KeySpec(key_file=key_file, passphrase=WORDS))
    assert WORDS not in failure.value.message


def test_a_command_sees_hardly_any_environment_but_systemds_credentials(
    tmp_path: Path, key_file: Path, key: WrappingKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    command = script(tmp_path, '[ -z "$SECRET_TOKEN" ] && cat "$CREDENTIALS_DIRECTORY/the key"\n')
    found = holder_of(KeySpec(key_command=command))
    assert isinstance(found, WrappingKey) and found.secret == key.secret


def test_no_shell_is_run(tmp_path: Path, key_file: Path) -> None:
    with expect.failure("key_command_failed"):
        holder_of(KeySpec(key_command=f"cat '{key_file}' > {tmp_path}/copy"))
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("command", ["", "   ", "cat 'unfinished"])
def test_a_command_that_is_none_is_refused(command: str) -> None:
    with expect.failure("key_command_invalid"):
        holder_of(KeySpec(key_command=command))


def test_a_command_that_cannot_be_started_is_named() -> None:
    with expect.failure("program_missing") as failure:
        holder_of(KeySpec(key_command="/nowhere/vault kv get"))
    assert "/nowhere/vault" in failure.value.message


@pytest.mark.parametrize(
    ("ending", "code", "said"),
    [
        ("echo the vault is sealed >&2; exit 2", "key_command_failed", "the vault is sealed"),
        ("exit 2", "key_command_failed", "gave no reason"),
        ("kill -9 $$", "key_command_failed", "-9"),
        ("echo done", "key_command_no_key", ""),
    ],
)
def test_a_failure_says_why_and_never_what_was_printed(tmp_path: Path, ending: str, code: str, said: str) -> None:
    with expect.failure(code) as failure:
        holder_of(KeySpec(key_command=script(tmp_path, f"echo top secret\n{ending}\n")))
    assert said in failure.value.message
    assert "top secret" not in everything(failure.value)


def test_a_command_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_providers, "_COMMAND_SECONDS", 0.2)
    with expect.failure("tool_timeout") as failure:
        holder_of(KeySpec(key_command=script(tmp_path, "echo top secret; exec sleep 600\n")))
    assert "top secret" not in everything(failure.value)


def everything(error: LifeboatError) -> str:
    return json.dumps(error.as_dict()) + repr(error) + repr(error.__cause__)


# --- what is told to the on-host command


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ({"key_file": Path("/k")}, ["--key-file", "/k"]),
        ({"key_command": "vault get 'the key'"}, ["--key-command", "vault get 'the key'"]),
        ({"passphrase_file": Path("/p")}, ["--passphrase-file", "/p"]),
    ],
)
def test_the_command_is_told_where_the_key_is(spec: dict[str, Any], options: list[str]) -> None:
    given = RepositorySpec("/srv/backups", KeySpec(**spec)).command_options()
    assert given[:2] == options or given[-2:] == options
    assert sorted(given) == sorted([*options, "--repository", "/srv/backups"])


def test_a_passphrase_is_in_no_command_line_and_no_text() -> None:
    spec = RepositorySpec("/srv/backups", KeySpec(passphrase=WORDS))
    with expect.failure("passphrase_not_in_a_file") as failure:
        spec.command_options()
    assert WORDS not in failure.value.message + repr(spec) + str(spec)
