# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What opens a repository, as it is written down: one setting in the file, one given beside it, which wins."""

from __future__ import annotations

from pathlib import Path

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import config
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import KeySpec

CLUSTER = "[cluster main]\nrepository = r\n"


def settings(folder: Path, repository: str) -> dict[str, str]:
    path = folder / "lifeboat.conf"
    path.write_text(f"[repository r]\nurl = /srv/r\n{repository}\n{CLUSTER}")
    return config.cluster_settings(config.read(path), path, "main")


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("key_file = /etc/k", KeySpec(key_file=Path("/etc/k"))),
        ("key_command = vault kv get 'a b'", KeySpec(key_command="vault kv get 'a b'")),
        ("passphrase_file = /etc/p", KeySpec(passphrase_file=Path("/etc/p"))),
    ],
)
def test_the_file_names_one_source_of_the_key(tmp_path: Path, line: str, key: KeySpec) -> None:
    assert config.specs("main", settings(tmp_path, line))[1].key == key


@pytest.mark.parametrize(
    "lines", ["", "key_file = /k\nkey_command = x", "key_file = /k\npassphrase_file = /p", "passphrase = secret"]
)
def test_none_two_and_a_bare_passphrase_are_refused(tmp_path: Path, lines: str) -> None:
    with expect.failure("config_invalid") as failure:
        settings(tmp_path, lines)
    assert "secret" not in failure.value.message


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"passphrase": "words"}, KeySpec(passphrase="words")),
        ({"key_file": "/other"}, KeySpec(key_file=Path("/other"))),
        ({"stanza": "s"}, KeySpec(key_file=Path("/k"))),
        ({"passphrase": ""}, KeySpec(key_file=Path("/k"))),
    ],
)
def test_what_is_given_takes_the_place_of_what_the_file_says(
    tmp_path: Path, given: dict[str, str], key: KeySpec
) -> None:
    values = config.overlaid(settings(tmp_path, "key_file = /k"), given)
    assert config.specs("main", values)[1].key == key


def test_none_and_two_that_are_given_are_refused() -> None:
    with expect.failure("setting_missing"):
        config.specs("main", {"repository": "/srv/r"})
    with expect.failure("key_ambiguous"):
        config.specs("main", {"repository": "/srv/r", "key_file": "/k", "passphrase": "words"})
