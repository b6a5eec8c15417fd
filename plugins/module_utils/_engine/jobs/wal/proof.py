# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof that WAL comes through: a segment is ended, and must be in every required repository.

It is looked for there, and not believed of the server. When it does not come, everything that
anybody has said about it is brought together: the server's statistics and log, and our own words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ... import wal_spool
from ...clock import Clock
from ...errors import PreconditionError
from ...ports import ProgressSink
from ...postgres import archiver, server_log, slots
from ...postgres import settings as server_settings
from ...postgres.connection import Connection
from ...postgres.wal_names import segment_of
from ...report.events import PhaseStarted, Warned
from ...repository.wal import WalArchive
from ...specs import ClusterSpec
from .wait import wait_for_segments

_EFFECT_SECONDS = 10.0
_PAUSE = 0.05


@dataclass(frozen=True)
class Proof:
    """One cluster's ways for WAL, and where it has to come."""

    cluster: ClusterSpec
    connection: Connection
    archives: Sequence[WalArchive]  # the required ones
    by_command: bool
    by_slot: bool
    data_directory: Path | None  # None: out of reach
    clock: Clock
    sink: ProgressSink
    timeout: float

    def show(self, *, changed: bool, slot_is_new: bool) -> str | None:
        """The segment that proves it; None when no receiver could be there yet.

        Where nothing has changed, the newest one that came by itself does.
        """
        slot = slots.look(self.connection, self.cluster.receive.slot) if self.by_slot else None
        for text in slot.warnings() if slot else ():
            self.sink.emit(Warned(text))
        received = slot is not None and slot.active_pid is not None
        if self.by_slot and not received:
            self._require_receiver(slot_is_new=slot_is_new)
            if not self.by_command:
                return None
        there = None if changed else self._came_by_itself(slot)
        return there or self._ended_now()

    def _require_receiver(self, *, slot_is_new: bool) -> None:
        name = self.cluster.receive.slot
        if not slot_is_new and not self.by_command:
            raise PreconditionError(
                "proving the archive",
                f"nobody receives from the replication slot {name}, so no WAL reaches a repository.",
                f"Start the receiver (lifeboat receive --cluster {self.cluster.name}, or its systemd unit), or see its"
                " log; the server keeps WAL until it comes.",
                code="receiver_not_connected",
                slot=name,
            )
        self.sink.emit(
            Warned(f"nobody receives from the replication slot {name} yet; the server keeps WAL until somebody does")
        )

    def _came_by_itself(self, slot: slots.Slot | None) -> str | None:
        name = None
        if self.by_command:
            state = archiver.status(self.connection)
            name = None if state.failing else state.last_archived
        elif slot is not None and slot.restart_lsn:
            size = self.archives[0].life.wal_segment_bytes
            if slot.restart_lsn >= size:
                timeline = int(self._current_segment()[:8], 16)
                name = segment_of(slot.restart_lsn - size, timeline, size).name
        if name and all(archive.find(name) is not None for archive in self.archives):
            return name
        return None

    def _ended_now(self) -> str:
        self.sink.emit(PhaseStarted("proving the archive", "switching WAL and waiting for the segment"))
        self.connection.rows(
            "writing a restore point", "SELECT pg_create_restore_point('lifeboat: archiving configured')"
        )
        segment = self._current_segment()
        self.connection.rows("switching WAL", "SELECT pg_switch_wal()")
        for archive in self.archives:
            wait_for_segments(archive, [segment], lambda: self._why(segment), self.clock, self.timeout)
        return segment

    def _current_segment(self) -> str:
        attempted = "asking for the current segment"
        (name,) = self.connection.row(attempted, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
        return str(name)

    def _why(self, segment: str) -> str:
        """Everything that is known about a segment that does not come."""
        return why_late(
            self.connection,
            self.data_directory,
            segment,
            by_command=self.by_command,
            slot=self.cluster.receive.slot if self.by_slot else None,
        )


def why_late(
    connection: Connection, data_directory: Path | None, segment: str, *, by_command: bool, slot: str | None
) -> str:
    """What there is to say about WAL that does not come, by each way that it could."""
    said = [_failure_text(connection, data_directory, segment)] if by_command else []
    if slot is not None:
        said.append(_slot_text(slot, slots.look(connection, slot)))
    return " ".join(said)


def _failure_text(connection: Connection, data_directory: Path | None, segment: str) -> str:
    """The server's statistics, the words of its log, and our own."""
    state = archiver.status(connection)
    said = [state.describe_failure()]
    own = own_failure(data_directory, [segment, state.last_failed or ""]) if data_directory else None
    if own:
        said.append(f"Lifeboat said: {own}")
    log = server_log.about(server_log.tail(connection, data_directory), "archive", "lifeboat")
    if log:
        said.append(f"The server's log says: {' | '.join(log)}")
    return " ".join(said)


def own_failure(data_directory: Path, segments: Sequence[str]) -> str | None:
    """Why our background could not archive one of these, as it has noted beside the WAL."""
    life = wal_spool.claimed_life(str(data_directory))
    if life is None:
        return "this data directory has no claim to an archive"
    spool = wal_spool.WalSpool(str(data_directory), life)
    return next(filter(None, (spool.failure(name) for name in segments if name)), None)


def _slot_text(name: str, slot: slots.Slot | None) -> str:
    if slot is None:
        return f"The replication slot {name} is gone."
    if slot.active_pid is None:
        return f"The receiver of the replication slot {name} is not connected any more; see its log."
    kept = f"{(slot.retained_bytes or 0) >> 20} MiB"
    return f"The receiver of the replication slot {name} is connected and has {kept} before it; see its log."


def require_effect(connection: Connection, after: Mapping[str, str], clock: Clock) -> None:
    """Wait until the reloaded settings are what was written; the server takes a moment."""
    deadline = clock.monotonic() + _EFFECT_SECONDS
    while True:
        found = server_settings.read(connection, after)
        wrong = [name for name, value in after.items() if found[name].effective not in (value, "(disabled)")]
        if not wrong:
            return
        if clock.monotonic() >= deadline:
            setting = found[wrong[0]]
            raise PreconditionError(
                f"setting {setting.name}",
                f"it is still {setting.effective!r}, by {setting.origin}.",
                "Remove it there; see the server's log for settings that it could not take.",
                code="setting_not_effective",
                setting=setting.name,
            )
        clock.sleep(_PAUSE)
