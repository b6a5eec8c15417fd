# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions that speak the replication protocol: what a server shows to those who may not read its files.

The client library is told to make a physical replication connection. Such a session knows a few
commands instead of SQL: who the server is, what a setting is, and BASE_BACKUP (base_backup.py).
Everything is received without blocking inside the library, so that signals are noticed and other
threads run meanwhile. A peer that has vanished is noticed by TCP's own keepalives.
"""

from __future__ import annotations

import contextlib
import re
import select
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import InterruptedJobError, LifeboatError, PreconditionError, UnsupportedError
from ..specs import ConnectionSpec
from ..thirdparty import require
from .connection import connect_error, connect_options, target_text
from .pages import PAGE_BYTES
from .server import NEWEST_MAJOR, OLDEST_MAJOR
from .wal_names import Lsn, parse_lsn

# How long a silent network may stay silent: 30 s, then three questions 10 s apart.
_KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
_POLL_MILLISECONDS = 1000
_SIZE = re.compile(r"(\d+)(kB|MB|GB)?", re.ASCII)
_UNITS = {None: 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


@dataclass(frozen=True)
class RemoteServer:
    """Facts about a server that is reached by the replication protocol only."""

    version_num: int
    system_identifier: int
    timeline: int
    position: Lsn  # how far its WAL is written
    in_recovery: bool
    wal_segment_bytes: int
    data_checksums: bool
    archive_mode: str

    @property
    def major(self) -> int:
        """13, 14, ..."""
        return self.version_num // 10000


class Replication:
    """One session with the server's WAL sender."""

    def __init__(self, raw: Any, warned: Callable[[str], None]) -> None:
        """`raw` is psycopg's connection; `warned` is told what the server warns of."""
        self._pg = raw.pgconn
        self._psycopg = require("psycopg")
        self._ahead: Any = None  # a result that was fetched before somebody asked for it
        self._poll = select.poll()
        self._poll.register(self._pg.socket, select.POLLIN)
        raw.add_notice_handler(
            lambda notice: warned(str(notice.message_primary)) if notice.severity_nonlocalized == "WARNING" else None
        )

    def inspect(self) -> RemoteServer:
        """Who the server is; refuse one that no backup can be made of."""
        attempted = "asking the server who it is"
        version_num = int(self._show("server_version_num"))
        if not OLDEST_MAJOR <= version_num // 10000 <= NEWEST_MAJOR:
            raise UnsupportedError(
                attempted,
                f"it is PostgreSQL {version_num // 10000}.",
                f"Lifeboat supports PostgreSQL {OLDEST_MAJOR} to {NEWEST_MAJOR}.",
                code="postgres_version_unsupported",
            )
        block_size = self._show("block_size")
        if block_size != str(PAGE_BYTES):
            raise UnsupportedError(
                attempted,
                f"it was built with block_size {block_size}.",
                f"Lifeboat supports the standard block size of {PAGE_BYTES} bytes only.",
                code="block_size_unsupported",
            )
        ((identifier, timeline, position, *_rest),) = self.rows(attempted, "IDENTIFY_SYSTEM")
        return RemoteServer(
            version_num=version_num,
            system_identifier=int(identifier or ""),
            timeline=int(timeline or ""),
            position=parse_lsn(position or ""),
            # Sessions of a standby can only read; 13 has no setting that says it more directly.
            in_recovery=self._show("transaction_read_only" if version_num < 140000 else "in_hot_standby") == "on",
            wal_segment_bytes=parse_size(self._show("wal_segment_size")),
            data_checksums=self._show("data_checksums") == "on",
            archive_mode=self._show("archive_mode"),
        )

    def _show(self, name: str) -> str:
        ((value, *_rest),) = self.rows(f"asking the server for {name}", f"SHOW {name}")
        return value or ""

    def rows(self, attempted: str, command: str) -> list[list[str | None]]:
        """Run a command that gives one list of rows."""
        self.send(attempted, command)
        rows = self.next_rows(attempted)
        self.finish(attempted)
        return rows

    # --- commands that give several results

    def send(self, attempted: str, command: str) -> None:
        """Send a command; its results are fetched one by one."""
        with self._losing(attempted):
            self._pg.send_query(command.encode())
            while self._pg.flush():
                self._wait(select.POLLOUT)

    def next_rows(self, attempted: str) -> list[list[str | None]]:
        """The next result, which must be rows."""
        result = self._next(attempted)
        if result is None or result.status != self._status("TUPLES_OK"):
            raise _unexpected(attempted, result)
        return [
            [_text(result.get_value(row, column)) for column in range(result.nfields)] for row in range(result.ntuples)
        ]

    def begin_copy(self, attempted: str) -> None:
        """The next result must be a stream of bytes, which `copied` gives."""
        result = self._next(attempted)
        if result is None or result.status != self._status("COPY_OUT"):
            raise _unexpected(attempted, result)

    def copied(self, attempted: str) -> Iterator[memoryview]:
        """The stream's messages, to its end as the server has marked it; one that breaks off is an error."""
        get, receive = self._pg.get_copy_data, self._pg.consume_input
        with self._losing(attempted):
            while True:
                count, data = get(1)
                if count > 0:
                    yield data
                elif count == 0:
                    self._wait(select.POLLIN)
                    receive()
                else:
                    break
        self._ahead = self._next(attempted)  # the end, or an error that looks like one until its result is fetched

    def finish(self, attempted: str) -> None:
        """Nothing more must come but the word that the command is done."""
        while (result := self._next(attempted)) is not None:
            if result.status != self._status("COMMAND_OK"):
                raise _unexpected(attempted, result)

    def _next(self, attempted: str) -> Any:
        """The next result; None when there are no more. What the server refuses is an error."""
        if self._ahead is not None:
            result, self._ahead = self._ahead, None
            return result
        with self._losing(attempted):
            while self._pg.is_busy():
                self._wait(select.POLLIN)
                self._pg.consume_input()
            result = self._pg.get_result()
        if result is not None and result.status == self._status("FATAL_ERROR"):
            message = " ".join(result.error_message.decode("utf-8", "replace").split())
            if self._pg.status != self._psycopg.pq.ConnStatus.OK:
                raise _lost(attempted, message)
            state = result.error_field(self._psycopg.pq.DiagnosticField.SQLSTATE) or b""
            raise ServerRefusal(message, state.decode("ascii", "replace"))
        return result

    def _wait(self, events: int) -> None:
        """Until the socket is ready; in steps, so that no signal waits for the network."""
        self._poll.modify(self._pg.socket, events)
        while not self._poll.poll(_POLL_MILLISECONDS):
            pass

    def _status(self, name: str) -> Any:
        return getattr(self._psycopg.pq.ExecStatus, name)

    @contextlib.contextmanager
    def _losing(self, attempted: str) -> Iterator[None]:
        """The library's errors are about the connection; the server's own come as results."""
        try:
            yield
        except self._psycopg.Error as exc:
            raise _lost(attempted, " ".join(str(exc).split())) from exc


class ServerRefusal(Exception):
    """What the server said instead of a result; whoever sent the command knows what it means."""

    def __init__(self, message: str, sqlstate: str) -> None:
        super().__init__(message)
        self.message = message
        self.sqlstate = sqlstate


def parse_size(text: str) -> int:
    """Bytes, from a setting with its unit such as `16MB`."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no size")
    return int(match[1]) * _UNITS[match[2]]


def parse_position(row: list[str | None]) -> tuple[Lsn, int]:
    """A place in the WAL and its timeline."""
    return parse_lsn(row[0] or ""), int(row[1] or "")


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogateescape")


def _lost(attempted: str, text: str) -> InterruptedJobError:
    return InterruptedJobError(
        attempted,
        f"the connection to the server was lost ({text}).",
        "It was restarted, stopped or has crashed, or the network is down: see its log, then run this again.",
        code="server_connection_lost",
    )


def _unexpected(attempted: str, result: Any) -> LifeboatError:
    return UnsupportedError(
        attempted,
        f"the server answered out of turn ({'with nothing' if result is None else result.status!r}).",
        "Connect to PostgreSQL itself, not to a pooler or proxy; else report this with the server's exact version.",
        code="replication_protocol_unexpected",
    )


@contextlib.contextmanager
def connect(spec: ConnectionSpec, warned: Callable[[str], None]) -> Iterator[Replication]:
    """Open a replication session for the length of a `with` block."""
    psycopg = require("psycopg")
    options = {**connect_options(spec, None), **_KEEPALIVES, "dbname": "replication", "replication": "true"}
    attempted = f"connecting to PostgreSQL for replication as {spec.user} ({target_text(options)})"
    try:
        raw = psycopg.connect(autocommit=True, **options)
    except psycopg.Error as exc:
        raise connect_error(attempted, str(exc), replication=True) from exc
    session = Replication(raw, warned)
    try:
        yield session
    except ServerRefusal as exc:
        raise PreconditionError(
            "speaking the replication protocol",
            f"{exc.message}.",
            "Connect to PostgreSQL itself, not to a pooler or proxy; else see the server's log.",
            code="replication_command_refused",
        ) from exc
    finally:
        raw.close()
