# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to change in a server's settings, and how it is taken back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.archiving.settings import (
    Noted,
    SettingOptions,
    legacy_record,
    parse_record,
    plan,
    record_text,
    wanted,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.settings import Entry, Setting

AUTO, CONF = "/data/postgresql.auto.conf", "/etc/postgresql/postgresql.conf"
COMMAND = "exec lifeboat archive-push --cluster main %p"
SERVER = {
    setting.name: setting
    for setting in (
        Setting("archive_command", "(disabled)"),
        Setting("archive_mode", "off", kind="enum", context="postmaster", default="off"),
        Setting("archive_timeout", "0", unit="s", kind="integer", default="0", limits=(0, 1073741823)),
        Setting("max_replication_slots", "10", kind="integer", context="postmaster", default="10", limits=(0, 262143)),
        Setting("max_slot_wal_keep_size", "-1", unit="MB", kind="integer", default="-1", limits=(-1, 2147483647)),
        Setting("max_wal_senders", "10", kind="integer", context="postmaster", default="10", limits=(0, 262143)),
        Setting("wal_keep_size", "0", unit="MB", kind="integer", default="0", limits=(0, 2147483647)),
        Setting("wal_level", "replica", kind="enum", context="postmaster", default="replica"),
    )
}


def server(**changed: dict[str, Any]) -> dict[str, Setting]:
    """A server with some settings other than the defaults."""
    return {**SERVER, **{name: replace(SERVER[name], **how) for name, how in changed.items()}}


def test_numbers_are_compared_in_their_own_unit() -> None:
    values = wanted(
        SettingOptions(archive_timeout="2 min", wal_keep_size="1GB"), SERVER, 17, command=None, streams=False
    )
    assert values == {"archive_timeout": "120s", "wal_keep_size": "1024MB"}
    there = server(archive_timeout={"effective": "120s"}, wal_keep_size={"effective": "1024MB"})
    assert not plan(values, (), there, {}).writes


@pytest.mark.parametrize(
    ("present", "asked", "becomes"),
    [("minimal", None, "replica"), ("replica", None, "replica"), ("logical", "replica", "logical")],
)
def test_the_wal_level_is_never_lowered(present: str, asked: str | None, becomes: str) -> None:
    found = server(wal_level={"effective": present})
    assert wanted(SettingOptions(wal_level=asked), found, 17, command=COMMAND, streams=False)["wal_level"] == becomes


@pytest.mark.parametrize(
    ("major", "asked", "becomes"),
    [
        (13, "on", "on"),
        (14, "pglz", "on"),
        (14, "off", "off"),
        (14, "zstd", None),
        (15, "on", "pglz"),
        (17, "off", "off"),
        (17, "lz4", "lz4"),
        (17, "zstd", None),  # this one was built without
    ],
)
def test_wal_is_compressed_by_what_the_server_has(major: int, asked: str, becomes: str | None) -> None:
    kind = {"kind": "bool"} if major < 15 else {"kind": "enum", "choices": ("pglz", "lz4", "on", "off")}
    found = {**SERVER, "wal_compression": Setting("wal_compression", "off", default="off", **kind)}
    options = SettingOptions(wal_compression=asked)
    if becomes is not None:
        assert wanted(options, found, major, command=None, streams=False) == {"wal_compression": becomes}
        return
    with pytest.raises(LifeboatError) as refused:
        wanted(options, found, major, command=None, streams=False)
    assert (refused.value.code, refused.value.details["setting"]) == ("setting_unknown_to_server", "wal_compression")
    assert (f"PostgreSQL {major}" if major < 15 else "built without zstd") in refused.value.happened


def test_the_word_for_a_method_is_no_change_of_it() -> None:
    choices = ("pglz", "lz4", "on", "off")
    there = Setting("wal_compression", "pglz", kind="enum", choices=choices, entries=(Entry("on", CONF, 3),))
    assert not plan({"wal_compression": "pglz"}, (), {"wal_compression": there}, {}).writes
    assert there.beneath == "pglz"


def test_a_receiver_gets_senders_and_slots_where_there_are_none() -> None:
    found = server(max_wal_senders={"effective": "0"}, max_replication_slots={"effective": "0"})
    values = wanted(SettingOptions(), found, 17, command=None, streams=True)
    assert values == {"wal_level": "replica", "max_wal_senders": "10", "max_replication_slots": "10"}
    assert wanted(SettingOptions(), SERVER, 17, command=None, streams=True) == {"wal_level": "replica"}


def test_what_waits_for_a_restart_is_written_once() -> None:
    values = {"archive_mode": "on"}
    first = plan(values, (), SERVER, {})
    assert (first.writes, first.restart) == (values, ["archive_mode"])
    pending = server(archive_mode={"pending_restart": True, "entries": (Entry("yes", AUTO, 3),)})
    again = plan(values, (), pending, first.record)
    assert (again.writes, again.restart, again.before) == ({}, ["archive_mode"], values)


def test_what_was_there_before_comes_back_and_what_others_set_since_stays() -> None:
    found = server(archive_timeout={"effective": "300s", "entries": (Entry("5min", AUTO, 3),)})
    made = plan({"archive_timeout": "60s", "wal_keep_size": "64MB"}, (), found, {})
    assert made.record == {"archive_timeout": Noted("60s", "5min"), "wal_keep_size": Noted("64MB", None)}
    since = server(
        archive_timeout={"effective": "60s", "entries": (Entry("60s", AUTO, 3),)},
        wal_keep_size={"effective": "128MB", "entries": (Entry("128MB", AUTO, 4),)},
    )
    back = plan({}, list(made.record), since, made.record)
    assert (back.writes, back.record) == ({"archive_timeout": "5min"}, {})
    assert (back.before, back.after) == ({"archive_timeout": "60s"}, {"archive_timeout": "300s"})


def test_a_second_change_remembers_what_was_before_the_first() -> None:
    record = {"archive_timeout": Noted("60s", None)}
    mine = server(archive_timeout={"effective": "60s", "entries": (Entry("60s", AUTO, 3),)})
    assert plan({"archive_timeout": "90s"}, (), mine, record).record["archive_timeout"] == Noted("90s", None)
    theirs = server(archive_timeout={"effective": "70s", "entries": (Entry("70", AUTO, 3),)})
    assert plan({"archive_timeout": "90s"}, (), theirs, record).record["archive_timeout"] == Noted("90s", "70")


def test_the_file_beneath_is_named_where_it_says_the_same() -> None:
    entries = (Entry("on", CONF, 12), Entry("on", AUTO, 3))
    found = server(archive_mode={"effective": "on", "entries": entries})
    back = plan({}, ["archive_mode"], found, {"archive_mode": Noted("on", None)})
    assert back.writes == {"archive_mode": None} and back.restart == []
    assert back.warnings == [f"archive_mode stays on: {CONF}, line 12 says so"]


def test_the_command_line_wins_and_is_named() -> None:
    found = server(archive_timeout={"effective": "77s", "source": "command line"})
    with pytest.raises(LifeboatError) as refused:
        plan({"archive_timeout": "60s"}, (), found, {})
    assert (refused.value.code, refused.value.details["source"]) == ("setting_not_effective", "command line")
    assert not plan({"archive_timeout": "77s"}, (), found, {}).writes


def test_servers_without_a_note_give_back_what_must_have_been_ours() -> None:
    found = server(
        archive_command={"effective": COMMAND, "entries": (Entry(COMMAND, AUTO, 3),)},
        archive_mode={"effective": "on", "entries": (Entry("on", CONF, 9),)},
        archive_timeout={"effective": "60s", "entries": (Entry("60", AUTO, 4),)},
    )
    record = legacy_record(found)
    back = plan({}, list(record), found, record)
    assert back.writes == {"archive_command": None, "archive_timeout": None}
    assert legacy_record(server(archive_command={"entries": (Entry("cp %p /x/%f", AUTO, 3),)})) == {}


def test_the_note_is_read_as_it_was_written() -> None:
    record = {"archive_command": Noted('test "x\\y" || %p', None), "wal_level": Noted("logical", "replica")}
    assert parse_record(record_text(record, "lifeboat_main")) == (record, "lifeboat_main")
    assert parse_record(None) == (None, None)
