# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""BASE_BACKUP: a running server sends its whole data directory as tar archives.

The server itself enters and leaves backup mode, leaves out what does not belong into a backup,
verifies page checksums (and reads a torn page again), and sends `global/pg_control` after
everything else. There is one archive for each tablespace, then one for the data directory. Up to
PostgreSQL 14 each is a COPY of its own without the blocks of zeros that end a tar archive; from 15
on one COPY holds them all, in messages that begin with a letter for their kind.

Neither WAL (the repository has it), nor a manifest (a restore renders one for what it has
written), nor the links of tablespaces (their targets would be cut at 99 bytes) are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import IntegrityError, InterruptedJobError, LifeboatError, PreconditionError, UnsupportedError
from .replication import Replication, ServerRefusal, parse_position
from .wal_names import Lsn

_ATTEMPTED = "receiving the server's base backup"
_DATA_CORRUPTED = "XX001"
_NEW_ARCHIVE, _DATA, _PROGRESS = b"n", b"d", b"p"


@dataclass(frozen=True)
class Tablespace:
    """A tablespace, or with no number the data directory itself."""

    oid: str | None
    location: str
    size: int  # as the server estimates, in bytes


@dataclass(frozen=True)
class Ended:
    """What the server says at the end. `complained` when it has sent pages with wrong checksums."""

    stop_lsn: Lsn
    timeline: int
    complained: bool


class BaseBackup:
    """One BASE_BACKUP: begin, then every archive to its end, then end. In this order."""

    def __init__(self, session: Replication, major: int) -> None:
        self._session = session
        self._one_copy = major >= 15

    def begin(self, label: str, *, fast: bool) -> tuple[Lsn, list[Tablespace]]:
        """Start; returns from where WAL is needed, and what will be sent."""
        attempted = "starting the server's base backup"
        try:
            self._session.send(attempted, command(label, fast=fast, new_syntax=self._one_copy))
            (start,) = self._session.next_rows(attempted)
            rows = self._session.next_rows(attempted)
        except ServerRefusal as exc:
            raise _refused(attempted, exc) from exc
        tablespaces = [Tablespace(oid, location or "", int(size or 0) << 10) for oid, location, size in rows]
        return parse_position(start)[0], tablespaces

    def archives(self, tablespaces: list[Tablespace]) -> Iterator[tuple[Tablespace, Iterator[memoryview]]]:
        """Each archive with its bytes, in the order in which they come."""
        try:
            if self._one_copy:
                self._session.begin_copy(_ATTEMPTED)
                yield from split(self._copied(), tablespaces)
            else:
                for tablespace in tablespaces:
                    self._session.begin_copy(_ATTEMPTED)
                    yield tablespace, self._copied()
        except ServerRefusal as exc:
            raise _refused(_ATTEMPTED, exc) from exc

    def _copied(self) -> Iterator[memoryview]:
        try:
            yield from self._session.copied(_ATTEMPTED)
        except ServerRefusal as exc:
            raise _refused(_ATTEMPTED, exc) from exc

    def end(self) -> Ended:
        """Where the backup ends in the WAL; all archives must have been read."""
        attempted = "ending the server's base backup"
        complained = False
        try:
            (row,) = self._session.next_rows(attempted)
            try:
                self._session.finish(attempted)
            except ServerRefusal as exc:
                # Only now, with everything sent, does it say so: what to do is the user's to decide.
                if exc.sqlstate != _DATA_CORRUPTED:
                    raise
                complained = True
        except ServerRefusal as exc:
            raise _refused(attempted, exc) from exc
        return Ended(*parse_position(row), complained)


def command(label: str, *, fast: bool, new_syntax: bool) -> str:
    """The command, in its spelling up to 14 or since 15."""
    quoted = "'" + label.replace("'", "''") + "'"
    if new_syntax:
        checkpoint = "fast" if fast else "spread"
        return (
            f"BASE_BACKUP (LABEL {quoted}, PROGRESS true, CHECKPOINT '{checkpoint}', WAL false, WAIT false,"
            " TABLESPACE_MAP true, MANIFEST 'no', TARGET 'client')"
        )
    return f"BASE_BACKUP LABEL {quoted} PROGRESS {'FAST ' if fast else ''}NOWAIT TABLESPACE_MAP"


def split(
    messages: Iterator[memoryview], tablespaces: list[Tablespace]
) -> Iterator[tuple[Tablespace, Iterator[memoryview]]]:
    """Cut the one COPY of PostgreSQL 15 and later into its archives."""
    known = {f"{each.oid}.tar" if each.oid else "base.tar": each for each in tablespaces}
    begun = next(messages, None)
    while begun is not None:
        if begun[:1] != _NEW_ARCHIVE:
            raise _unknown_message(begun)
        name = bytes(begun[1:]).partition(b"\0")[0].decode("utf-8", "surrogateescape")
        tablespace = known.pop(name, None)
        if tablespace is None:
            raise _incomplete(f"it sent the archive {name!r}, which it had not announced.")
        archive = _Archive(messages)
        yield tablespace, archive.pieces()
        begun = archive.next_archive
    if known:
        raise _incomplete(f"it did not send the archive {min(known)!r}.")


class _Archive:
    """One archive's messages, up to the beginning of the next."""

    def __init__(self, messages: Iterator[memoryview]) -> None:
        self._messages = messages
        self.next_archive: memoryview | None = None

    def pieces(self) -> Iterator[memoryview]:
        for message in self._messages:
            kind = message[:1]
            if kind == _DATA:
                yield message[1:]
            elif kind == _NEW_ARCHIVE:
                self.next_archive = message
                return
            elif kind != _PROGRESS:
                raise _unknown_message(message)


def _unknown_message(message: memoryview) -> LifeboatError:
    return UnsupportedError(
        _ATTEMPTED,
        f"the server sent a message of the unknown kind {bytes(message[:1])!r}.",
        "Connect to PostgreSQL itself, not to a pooler or proxy; else report this with the server's exact version.",
        code="replication_protocol_unexpected",
    )


def _incomplete(happened: str) -> IntegrityError:
    return IntegrityError(
        _ATTEMPTED, happened, "Report this with the server's exact version.", code="base_backup_incomplete"
    )


def _refused(attempted: str, exc: ServerRefusal) -> LifeboatError:
    if "promoted during online backup" in exc.message:
        return InterruptedJobError(
            attempted,
            "the standby was promoted during the backup, which made the backup useless.",
            "Run it again.",
            code="standby_promoted",
        )
    if exc.sqlstate.startswith("57P"):  # the administrator's command, a crash, a shutdown
        return InterruptedJobError(
            attempted,
            f"the server ended the session ({exc.message}).",
            "See its log for the reason, then run this again.",
            code="server_connection_lost",
        )
    return PreconditionError(
        attempted,
        f"the server refused: {exc.message}.",
        "Remove the cause that it names; its log may tell more.",
        code="base_backup_refused",
    )
