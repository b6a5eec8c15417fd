# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The streaming receiver: a service around pg_receivewal.

Beside it, and whatever becomes of it, the spool is emptied into the repositories: WAL that has been
received leaves the host also when its server is gone. Everything that can pass by itself (a server
or a repository that does not answer, a full disk, a standby that is not promoted yet) is said once
and waited for. What cannot (another cluster, another history, commits that would hang) ends it.

Killed at any moment it loses nothing: the slot holds what has not been received, the spool what has.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ...background import ChangedFile, only_one
from ...clock import Clock, utc_text
from ...errors import IntegrityError, LifeboatError, PreconditionError, UnsupportedError
from ...ports import ProcessRunner, ProgressSink
from ...postgres import programs, receivewal
from ...process import Process
from ...report.events import PhaseStarted, Warned
from ...specs import ArchiveSpec, ClusterSpec
from ..wal.retry import Retry
from .source import Found, Source
from .spool import ReceiveSpool, SpoolOwner
from .upload import Uploader

THIRD_PARTY = ("psycopg",)
_LONGEST_TICK = 0.5
_WATCH_SECONDS, _FIRST_WATCH_SECONDS = 10.0, 2.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
_END_SECONDS = 10.0
_FRUITLESS = 3  # starts that brought nothing before the server is taken not to have what comes next
_MOST_NAMED = 1000
_FATAL_CODES = frozenset(
    {"receiver_would_hang_commits", "slot_of_another_kind", "postgres_program_missing", "cluster_not_claimed"}
)


@dataclass(frozen=True)
class ReceiveRequest:
    """What the receiver is asked to do."""

    cluster: ClusterSpec
    archive: ArchiveSpec
    jobs: int = 2
    given: Sequence[Path] = ()  # files that make it what it is; when one changes it ends, to be started anew


def run(
    request: ReceiveRequest, clock: Clock, runner: ProcessRunner, sink: ProgressSink, stop: threading.Event
) -> None:
    """Receive until `stop` is set. Must be called in the thread that stays: children die with it."""
    receive = request.cluster.receive
    if not receive.streams:
        raise PreconditionError(
            f"receiving WAL of {request.cluster.name}",
            "its wal_method is archive.",
            "Set wal_method to stream or both, which also makes its slot (module pitr_configure).",
            code="receiver_not_configured",
        )
    spool = ReceiveSpool(receive.spool)
    spool.make()
    with only_one(str(spool.lock)) as alone:
        if not alone:
            raise PreconditionError(
                f"receiving WAL of {request.cluster.name}",
                f"another receiver uses the spool {receive.spool}.",
                "Stop it first, or give this cluster a spool of its own.",
                code="receiver_running",
            )
        with contextlib.closing(_Receiver(request, spool, clock, runner, sink)) as receiver:
            receiver.work(stop)


class _Receiver:
    """One run of the service. Its main thread supervises; one round of uploads at a time goes on beside it."""

    def __init__(
        self,
        request: ReceiveRequest,
        spool: ReceiveSpool,
        clock: Clock,
        runner: ProcessRunner,
        sink: ProgressSink,
    ) -> None:
        self._request = request
        self._spool = spool
        self._clock = clock
        self._runner = runner
        self._sink = sink
        self._source = Source(request.cluster, request.archive, spool, clock, self._warn)
        self._owner: SpoolOwner | None = spool.owner()
        self._uploader: Uploader | None = None
        self._process: Process | None = None
        self._found: Found | None = None
        self._fruitless = 0
        self._removed = False  # the server has said that it does not have what comes next
        self._began: str | None = None  # where the present pg_receivewal has begun
        self._started = utc_text(clock.now())
        self._state = "starting"
        self._troubles: dict[str, str] = {}  # what of -> what, as long as it lasts
        self._gaps: list[str] = []
        self._start = Retry(clock, _FIRST_PAUSE, _LONGEST_PAUSE)
        self._upload = Retry(clock, _FIRST_PAUSE, _LONGEST_PAUSE)
        self._watch_at = 0.0
        self._ship_at = 0.0
        self._rounds = ThreadPoolExecutor(1, "round")
        self._round: Future[None] | None = None
        interval = request.cluster.receive.partial_interval
        self._interval = interval
        self._tick = min(_LONGEST_TICK, (interval or _LONGEST_TICK) / 4)

    def work(self, stop: threading.Event) -> None:
        """Until `stop` is set, or something is found that waiting does not help."""
        self._source.require_owner()
        given = [ChangedFile(path) for path in self._request.given]
        while not stop.is_set():
            if any(each.changed() for each in given):
                self._warn("the configuration or the command has changed: it ends, so that systemd starts it anew")
                break
            self._supervise()
            self._send()
            self._say()
            stop.wait(self._tick)
        self._end_receiving()
        self._last_round()
        self._state = "stopped"
        self._say()

    def close(self) -> None:
        """End what runs."""
        self._end_receiving()
        self._rounds.shutdown()
        if self._uploader is not None:
            self._uploader.close()

    # --- receiving

    def _supervise(self) -> None:
        if self._process is not None and self._process.is_running():
            self._watch()
            return
        if self._process is not None:
            self._process = None
            self._after_end(receivewal.ended(self._spool.log))
        if self._start.due():
            try:
                self._begin()
            except LifeboatError as exc:
                if isinstance(exc, (IntegrityError, UnsupportedError)) or exc.code in _FATAL_CODES:
                    self._last_round()
                    raise
                self._state = "waiting"
                self._trouble("receiving", exc)
                self._start.failed()

    def _begin(self) -> None:
        """Ask the server who it is, then start pg_receivewal."""
        cluster = self._request.cluster
        self._owner = owner = self._claim()
        self._found = found = self._source.prepare(owner)
        if self._fruitless >= _FRUITLESS:
            self._fruitless = 0
            missing = self._source.pass_gap(owner, found, certain=self._removed)
            self._removed = False
            if missing:
                self._gaps += missing[:_MOST_NAMED]
                self._warn(
                    f"a gap: the server does not have {missing[0]} to {missing[-1]} any more, and nobody has archived"
                    " them. Make a backup: recovery to points behind the gap needs one that is made after it"
                )
        following = self._spool.next_segment(owner.wal_segment_bytes)
        self._began = following.name if following else None
        tools = programs.find(found.server.major, cluster.bin_directory)
        command = receivewal.command(tools, self._source.connection(), cluster.receive, self._spool.wal)
        attempted = f"receiving WAL of {cluster.name}"
        self._process = self._runner.start(
            command.argv, output=self._spool.log, attempted=attempted, env=command.environment
        )
        self._state = "receiving"
        where = f"timeline {found.server.timeline}, from {self._began}, slot {cluster.receive.slot}"
        self._sink.emit(PhaseStarted("receiving WAL", where))
        self._watch_at = self._clock.monotonic() + _FIRST_WATCH_SECONDS

    def _claim(self) -> SpoolOwner:
        """Whose WAL it is. While the repository cannot be asked, what was so before holds: receiving goes on."""
        try:
            owner = self._source.require_claim()
        except LifeboatError as exc:
            if self._owner is None or isinstance(exc, (IntegrityError, UnsupportedError)):
                raise
            return self._owner
        self._begin_anew_after_upgrade(owner)
        self._spool.belong_to(owner)
        return owner

    def _begin_anew_after_upgrade(self, owner: SpoolOwner) -> None:
        """What a former life has left goes to its archive; only then the spool is the new one's.

        Only pg_upgrade gives a cluster another system identifier. A clone has its original's: of two lives with the
        same identifier nothing here tells which one this is, and `belong_to` refuses.
        """
        former = self._spool.owner()
        if former is None or former.stanza != owner.stanza or former.system_identifier == owner.system_identifier:
            return
        self._owner = former
        if self._round is not None:
            ended, self._round = self._round, None
            with contextlib.suppress(LifeboatError):
                ended.result()  # what it did not bring away the next one does, or says why it cannot
        self._uploader = uploader = self._uploader or self._make_uploader(former)
        uploader.round(partial=self._interval is not None)
        uploader.close()
        self._uploader = None
        lacking = self._spool.begin_anew(self._clock)
        for name, files in lacking.items():
            self._warn(f"the optional repository {name} will lack {', '.join(files)} of the life before the upgrade")
        new = f"{owner.incarnation}, PostgreSQL {owner.major_version}"
        self._sink.emit(PhaseStarted("beginning a new life", f"{new}; what was received of the former one is archived"))

    def _after_end(self, error: LifeboatError) -> None:
        """Nothing came of a start: perhaps the server no longer has what comes next."""
        self._state = "waiting"
        size = self._owner.wal_segment_bytes if self._owner else 0
        following = self._spool.next_segment(size) if size else None
        if following is not None and following.name == self._began:
            self._fruitless += 1
        else:
            self._fruitless = 0
            self._start.worked()
        if error.code == "wal_removed_by_server":
            self._fruitless, self._removed = _FRUITLESS, True
        self._trouble("receiving", error)
        self._start.failed()

    def _watch(self) -> None:
        """Once it has received for a while: is the slot in danger, do commits wait in vain?"""
        if self._clock.monotonic() < self._watch_at:
            return
        self._watch_at = self._clock.monotonic() + _WATCH_SECONDS
        try:
            warnings = self._source.watch()
        except LifeboatError:
            return  # pg_receivewal itself will tell when the server is gone
        self._solved("receiving")
        for kept in [name for name in self._troubles if name.startswith("watch ")]:
            if kept[6:] not in warnings:
                del self._troubles[kept]
        for warning in warnings:
            if f"watch {warning}" not in self._troubles:
                self._troubles[f"watch {warning}"] = warning
                self._warn(warning)

    def _end_receiving(self) -> None:
        process, self._process = self._process, None
        if process is not None and not process.end(signal.SIGINT, _END_SECONDS):
            process.kill()

    # --- sending

    def _send(self) -> None:
        """Begin a round of uploads when there is something to bring away and none is on its way."""
        if self._owner is None:
            return
        if self._uploader is None:
            self._uploader = self._make_uploader(self._owner)
        self._uploader.pay_debts()
        if self._round is not None:
            if not self._round.done():
                return
            self._judge(self._round.exception())
            self._round = None
        now = self._clock.monotonic()
        ship = self._interval is not None and now >= self._ship_at
        if self._upload.due() and (ship or self._uploader.pending()):
            if ship:
                self._ship_at = now + (self._interval or 0.0)
            uploader = self._uploader
            self._round = self._rounds.submit(lambda: uploader.round(partial=ship))

    def _make_uploader(self, owner: SpoolOwner) -> Uploader:
        archive = self._request.archive
        if self._request.cluster.receive.archives:  # what one way gives up may come the other way
            archive = replace(archive, drop_after=None)
        return Uploader(archive, self._spool, owner, self._request.jobs, self._clock, self._warn)

    def _judge(self, error: BaseException | None) -> None:
        """What became of a round."""
        if error is None:
            self._upload.worked()
            self._solved("uploading")
        elif isinstance(error, IntegrityError):
            raise error
        elif isinstance(error, LifeboatError):
            self._trouble("uploading", error)
            self._upload.failed()
        else:
            raise error

    def _last_round(self) -> None:
        """What has come until now, the unfinished segment included, as far as the repositories take it."""
        if self._owner is None or self._uploader is None:
            return
        if self._round is not None:
            with contextlib.suppress(LifeboatError):
                self._round.result()
        with contextlib.suppress(LifeboatError):
            self._uploader.round(partial=self._interval is not None)

    # --- saying

    def _warn(self, text: str) -> None:
        self._sink.emit(Warned(text))

    def _trouble(self, of: str, error: LifeboatError) -> None:
        """Say it once, until it is something else."""
        text = f"[{error.code}] {error.message}"
        if self._troubles.get(of) != text:
            self._troubles[of] = text
            self._warn(text)

    def _solved(self, of: str) -> None:
        if self._troubles.pop(of, None) is not None:
            self._sink.emit(PhaseStarted(of, "works again"))

    def _say(self) -> None:
        uploader, found, owner = self._uploader, self._found, self._owner
        self._spool.say(
            {
                "pid": os.getpid(),
                "started": self._started,
                "updated": utc_text(self._clock.now()),
                "state": self._state,
                "cluster": self._request.cluster.name,
                "slot": self._request.cluster.receive.slot,
                "timeline": found.server.timeline if found else None,
                "waiting_segments": [each.name for each in uploader.pending()] if uploader and owner else [],
                "shipped": asdict(uploader.shipped) if uploader else None,
                "gaps": self._gaps,
                "troubles": list(self._troubles.values()),
            }
        )


def stop_on_signals(stop: threading.Event) -> None:
    """From now on SIGTERM and SIGINT set `stop`, and nothing else."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
