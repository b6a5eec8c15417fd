# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys as users have them: from files, commands and passphrases, of several recipients; and no secret to be seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Cluster, run, server_user
from support import Site, assert_refused, objects, task

WORDS = "correct horse battery staple"


def owned(path: Path, text: str, mode: int = 0o400) -> Path:
    """A file of the server's user."""
    path.write_text(text)
    path.chmod(mode)
    run(["chown", server_user().pw_name, path])
    return path


@pytest.fixture
def phrase(new_folder: Callable[[], Path]) -> Path:
    """A file with a passphrase."""
    return owned(new_folder() / "phrase", WORDS + "\n")


def test_a_recovery_key_is_made_fetched_and_taken_away(bare_site: Site, tmp_path: Path) -> None:
    site = bare_site
    recovery, fetched = site.folder / "keys/recovery.key", tmp_path / "recovery.key"
    wanted = task("pg_backup_repository", create_key=True, recipients=[{"label": "recovery", "key_file": recovery}])
    before = list(objects(site.repository))
    predicted, made, again, _fetched, _removed, without_file = site.play(
        {**wanted, "check_mode": True},
        wanted,
        wanted,
        {"ansible.builtin.fetch": {"src": recovery, "dest": fetched, "flat": True}},
        {"ansible.builtin.file": {"path": recovery, "state": "absent"}},
        wanted,
    )
    assert [each["changed"] for each in (predicted, made, again, without_file)] == [True, True, False, False]
    assert predicted["diff"] == made["diff"]
    assert made["diff"]["after"].splitlines()[1] == "recovery: new (file, full)"
    assert made["recipient_key_files"] == [str(recovery)] and not recovery.exists()
    assert [each["label"] for each in without_file["recipients"]] == ["primary", "recovery"]
    assert without_file["recipients"] == made["recipients"]
    assert set(objects(site.repository)) - set(before) == {"keys/000001-000002.json"}

    found = site.module("pg_backup_info", key_file=owned(site.folder / "keys/back.key", fetched.read_text()))
    assert not found["failed"]
    assert fetched.read_text().partition(":")[2].strip() not in json.dumps(
        [predicted, made, again, without_file, found]
    )


def test_recipients_come_and_go_but_the_key_in_use_stays(bare_site: Site, phrase: Path) -> None:
    site = bare_site
    director = {"label": "director", "passphrase": WORDS}
    run_as = {"passphrase_file": phrase}
    added, again, other_words, short, in_use, _removed, removed_again, wrong, last = results = site.play(
        task("pg_backup_repository", recipients=[director]),
        task("pg_backup_repository", recipients=[director]),
        task("pg_backup_repository", recipients=[{**director, "passphrase": "these are other words"}]),
        task("pg_backup_repository", recipients=[{"label": "x", "passphrase": "eleven+char"}]),
        task("pg_backup_repository", recipients=[{"label": "primary", "state": "absent"}]),
        task("pg_backup_repository", recipients=[{"label": "primary", "state": "absent"}], **run_as),
        task("pg_backup_repository", recipients=[{"label": "primary", "state": "absent"}], **run_as),
        task("pg_backup_repository"),
        task("pg_backup_repository", recipients=[{"label": "director", "state": "absent"}], **run_as),
        fails=True,
    )
    assert [each["changed"] for each in results] == [True, False, False, False, False, True, False, False, False]
    assert [each["provider"] for each in again["recipients"]] == ["file", "passphrase"]
    assert [each["label"] for each in removed_again["recipients"]] == ["director"]
    assert removed_again["key_file"] == "" and removed_again["key_id"] == again["recipients"][1]["key_id"]
    assert_refused("recipient_differs", other_words)
    assert_refused("passphrase_too_short", short)
    assert_refused("recipient_in_use", in_use)
    assert_refused("recipient_in_use", last)
    assert "director" in assert_refused("key_wrong", wrong)["msg"]
    assert added["diff"]["before"] != added["diff"]["after"]
    for text in (WORDS, "these are other words", "eleven+char"):
        assert text not in json.dumps(results)


def test_all_of_it_with_a_command_that_gives_the_key(bare_site: Site, new_place: Callable[[], Cluster]) -> None:
    site = bare_site
    asked = owned(site.folder / "asked", "", 0o600)
    script = f'#!/bin/sh\n[ "$1" = "get it" ] && id -un >> {asked} && cat {site.key_file}\n'
    vault = owned(site.folder / "vault", script, 0o500)
    options = site.agent_task["lifeboat.postgresql.lifeboat_agent"]
    command = f"{vault} 'get it'"
    repositories = [{"name": "local", "url": site.repository, "key_command": command}]
    restored = new_place()
    *_ignored, verified, made = site.play(
        task("lifeboat_agent", **{**options, "repositories": repositories}),
        task("pitr_configure", restart=True),
        task("pg_backup"),
        task("backup_verify"),
        task(
            "pg_restore",
            destination=restored.data_directory,
            port=restored.port,
            socket_directory=restored.socket_dir,
        ),
    )
    assert not verified["failed"] and made["running"]
    assert restored.sql("SELECT count(*) FROM orders") == [(5000,)]
    assert set(asked.read_text().split()) == {server_user().pw_name}
    secret = site.key_file.read_text().partition(":")[2].strip()
    for file in restored.data_directory.glob("*.conf"):
        assert secret not in file.read_text()

    broken = owned(site.folder / "broken", f"#!/bin/sh\ncat {site.key_file}\necho sealed >&2\nexit 3\n", 0o500)
    refusal = site.refused("key_command_failed", "pg_backup_info", key_command=broken)
    assert "sealed" in refusal["msg"] and secret not in json.dumps(refusal)
    assert "sealed" in site.command_refused("key_command_failed", "info", "--key-command", broken)


def test_a_passphrase_restores_everything(site: Site, phrase: Path, new_place: Callable[[], Cluster]) -> None:
    restored = new_place()
    where = {"destination": restored.data_directory, "port": restored.port, "socket_directory": restored.socket_dir}
    _added, bare, made = site.play(
        task("pg_backup_repository", recipients=[{"label": "person", "passphrase_file": phrase}]),
        task("pg_restore", passphrase=WORDS, **where),
        task("pg_restore", passphrase_file=phrase, **where),
        fails=True,
    )
    assert_refused("passphrase_not_in_a_file", bare)
    assert made["running"], made
    assert restored.sql("SELECT count(*) FROM orders") == [(5000,)]
    assert WORDS not in json.dumps([bare, made])
    assert json.loads(site.lifeboat("info", "--passphrase-file", phrase, "--json").stdout)["backups"]


def test_access_to_metadata_shows_but_does_not_read_or_write(site: Site, new_place: Callable[[], Cluster]) -> None:
    key, restored = site.folder / "keys/monitoring.key", new_place()
    recipients = [{"label": "monitoring", "key_file": key, "access": "metadata"}]
    made, info, complete, content, backup, restore = site.play(
        task("pg_backup_repository", create_key=True, recipients=recipients),
        task("pg_backup_info", key_file=key),
        task("pg_backup_info"),
        task("backup_verify", key_file=key),
        task("pg_backup", key_file=key),
        task("pg_restore", key_file=key, destination=restored.data_directory),
        fails=True,
    )
    assert made["recipients"][-1]["access"] == "metadata"
    assert (info["failed"], info["backups"], info["wal"]) == (False, complete["backups"], complete["wal"])
    for refusal in (content, backup, restore):
        assert_refused("key_lacks_data", refusal)
    segment = next((site.cluster.data_directory / "pg_wal").glob("0*"))
    site.command_refused("key_lacks_data", "archive-push", "--key-file", key, segment)


def test_the_configuration_names_one_source_of_the_key(bare_site: Site, phrase: Path) -> None:
    site = bare_site
    agent = site.agent_task["lifeboat.postgresql.lifeboat_agent"]
    for keys in ({}, {"key_file": site.key_file, "passphrase_file": phrase}):
        (refused,) = site.play(
            task("lifeboat_agent", **{**agent, "repositories": [{"name": "r", "url": "/x", **keys}], "clusters": []}),
            fails=True,
        )
        assert refused["failed"] and "key_file" in refused["msg"]
    site.refused("key_ambiguous", "pg_backup_info", key_file=site.key_file, passphrase=WORDS)
    text = site.config_file.read_text()
    site.config_file.write_text(text.replace("key_file = ", f"passphrase_file = {phrase}\nkey_file = "))
    site.refused("config_invalid", "pg_backup_info")
