# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""BASE_BACKUP in both of its forms, without a server."""

from __future__ import annotations

from collections.abc import Iterator

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import InterruptedJobError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres import base_backup
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.base_backup import (
    BaseBackup,
    Tablespace,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.replication import (
    ServerRefusal,
    parse_size,
)

SPACES = [Tablespace("16384", "/srv/ts", 1024), Tablespace(None, "", 2048)]
ROWS: list[list[str | None]] = [["16384", "/srv/ts", "1"], [None, None, "2"]]


def message(kind: str, content: bytes) -> memoryview:
    return memoryview(kind.encode() + content)


def whole(messages: list[memoryview]) -> list[tuple[str | None, bytes]]:
    return [(space.oid, b"".join(pieces)) for space, pieces in base_backup.split(iter(messages), SPACES)]


TS, BASE = message("n", b"16384.tar\0/srv/ts\0"), message("n", b"base.tar\0\0")


def test_one_copy_is_cut_into_its_archives() -> None:
    progress = message("p", bytes(8))
    messages = [TS, message("d", b"a"), progress, message("d", b"b"), BASE, progress, message("d", b"c")]
    assert whole(messages) == [("16384", b"ab"), (None, b"c")]


def test_an_archive_nobody_announced_is_refused() -> None:
    with expect.failure("base_backup_incomplete"):
        whole([message("n", b"99.tar\0/x\0"), message("d", b"a")])


def test_an_archive_that_comes_twice_is_refused() -> None:
    with expect.failure("base_backup_incomplete"):
        whole([BASE, message("d", b"a"), BASE])


@pytest.mark.parametrize("messages", [[BASE], [TS], []])
def test_an_archive_that_does_not_come_is_an_error(messages: list[memoryview]) -> None:
    with expect.failure("base_backup_incomplete"):
        whole(messages)


@pytest.mark.parametrize("messages", [[message("d", b"a")], [TS, message("z", b"a")]])
def test_an_unknown_message_is_refused(messages: list[memoryview]) -> None:
    with expect.failure("replication_protocol_unexpected"):
        whole(messages)


def test_both_spellings_ask_for_the_same() -> None:
    old = base_backup.command("it's", fast=True, new_syntax=False)
    new = base_backup.command("it's", fast=True, new_syntax=True)
    assert old == "BASE_BACKUP LABEL 'it''s' PROGRESS FAST NOWAIT TABLESPACE_MAP"
    assert new.startswith("BASE_BACKUP (LABEL 'it''s', PROGRESS true, CHECKPOINT 'fast', WAL false, WAIT false,")
    assert "FAST" not in base_backup.command("x", fast=False, new_syntax=False)
    assert "'spread'" in base_backup.command("x", fast=False, new_syntax=True)


class Session:
    """Gives prepared results, or raises them."""

    def __init__(self, *results: object, last: Exception | None = None) -> None:
        self.results, self.last, self.sent = list(results), last, ""

    def send(self, attempted: str, command: str) -> None:
        self.sent = command

    def next_rows(self, attempted: str) -> list[list[str | None]]:
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        assert isinstance(result, list)
        return result

    def begin_copy(self, attempted: str) -> None:
        assert self.results[0] != "no copy"

    def copied(self, attempted: str) -> Iterator[memoryview]:
        result = self.results.pop(0)
        if isinstance(result, Exception):
            raise result
        yield memoryview(result)  # type: ignore[call-overload]

    def finish(self, attempted: str) -> None:
        if self.last:
            raise self.last


START: list[list[str | None]] = [["0/2000028", "1"]]


def backup(*results: object, major: int = 13, last: Exception | None = None) -> BaseBackup:
    return BaseBackup(Session(*results, last=last), major)  # type: ignore[arg-type]


def test_a_copy_for_each_tablespace_up_to_14() -> None:
    made = backup(START, ROWS, b"one", b"two", [["0/3000000", "1"]])
    assert made.begin("x", fast=True) == (0x2000028, SPACES)
    assert [(space.oid, b"".join(pieces)) for space, pieces in made.archives(SPACES)] == [
        ("16384", b"one"),
        (None, b"two"),
    ]
    assert made.end() == base_backup.Ended(0x3000000, 1, False)


def test_bad_checksums_are_told_after_everything_was_sent() -> None:
    made = backup([["0/3000000", "1"]], last=ServerRefusal("checksum verification failure", "XX001"))
    assert made.end().complained


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (ServerRefusal("file name too long for tar format", "XX000"), "base_backup_refused"),
        (ServerRefusal("the standby was promoted during online backup", "55000"), "standby_promoted"),
        (ServerRefusal("terminating connection due to administrator command", "57P01"), "server_connection_lost"),
    ],
)
def test_what_the_server_refuses_is_told(refusal: ServerRefusal, code: str) -> None:
    with expect.failure(code) as failure:
        backup(refusal).begin("x", fast=True)
    assert refusal.message in failure.value.message or code == "standby_promoted"
    assert isinstance(failure.value, InterruptedJobError) is (code != "base_backup_refused")
    with expect.failure(code):
        backup([["0/3000000", "1"]], last=refusal).end()


@pytest.mark.parametrize(("text", "size"), [("16MB", 16 << 20), ("1GB", 1 << 30), ("8192", 8192), ("64kB", 1 << 16)])
def test_settings_with_units(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("major", [13, 15])
def test_what_ends_a_copy_is_told_to_whoever_reads_it(major: int) -> None:
    made = backup(ServerRefusal("terminating connection due to administrator command", "57P01"), major=major)
    with expect.failure("server_connection_lost"):
        for _space, pieces in made.archives(SPACES):
            list(pieces)
