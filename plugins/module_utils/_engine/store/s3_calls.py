# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of an S3 server: repeated while that may help and time is left, failing with an error that says what to do."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ..clock import Clock, SystemClock
from ..specs import S3Spec
from ..thirdparty import require
from . import s3_client
from .s3_errors import CONNECTION_LOST, GaveUp, diagnose, status

Result = TypeVar("Result")

_BODY_PIECE = 1 << 20
_FIRST_PAUSE = 0.2


@dataclass(frozen=True)
class Patience:
    """For how long, in seconds, we wait for what."""

    connect: float = 10.0  # a connection, and while sending each few kilobytes
    silence: float = 60.0  # the server's next byte
    first_contact: float = 15.0  # a server that has never answered: most likely a wrong setting
    total: float = 300.0  # one call with all its repetitions
    longest_pause: float = 5.0  # between two attempts


class Call:
    """One call with all its attempts: until when, and whether it is still wanted."""

    def __init__(
        self, clock: Clock, patience: Callable[[bool], float], unwanted: threading.Event | None = None
    ) -> None:
        """`patience` tells how many seconds there are, by whether the server has answered."""
        self.answered = False
        self._clock = clock
        self._began = clock.monotonic()
        self._patience = patience
        self._unwanted = unwanted

    @property
    def age(self) -> float:
        """Seconds since the call began."""
        return self._clock.monotonic() - self._began

    def has_time_for(self, pause: float) -> bool:
        """Whether to go on after a pause."""
        return self.age + pause < self._patience(self.answered) and not (self._unwanted and self._unwanted.is_set())

    def check(self) -> None:
        """Leave the attempt when it is of no use any more."""
        if not self.has_time_for(0):
            raise GaveUp

    def body(self, data: bytes | bytearray) -> io.BytesIO:
        """A request's body that is sent piece by piece, and no further once the call is of no use."""
        return _Body(data, self)

    def read(self, body: Any) -> bytes:
        """An answer's body; the connection's end before the body's is an error of botocore's."""
        self.answered = True
        pieces = bytearray()
        try:
            while piece := body.read(_BODY_PIECE):
                pieces += piece
                self.check()
        finally:
            body.close()
        return bytes(pieces)


class _Body(io.BytesIO):
    """Bytes that look at the clock while they are read."""

    def __init__(self, data: bytes | bytearray, call: Call) -> None:
        super().__init__(data)
        self._call = call

    def read(self, size: int | None = -1, /) -> bytes:
        self._call.check()
        return super().read(size)


class S3Calls:
    """A client, made when it is first needed, and the patience with which it is used. Threads may share it."""

    def __init__(self, spec: S3Spec, connections: int, patience: Patience, clock: Clock | None = None) -> None:
        self._spec = spec
        self._connections = connections
        self._patience = patience
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._client: Any = None
        self._answered = False

    def run(
        self,
        attempted: str,
        operation: Callable[[Any, Call], Result],
        *,
        within: float | None = None,
        unwanted: threading.Event | None = None,
    ) -> Result:
        """The result of `operation`, which gets the client and the call and may be run several times."""
        call = Call(self._clock, lambda answered: within or self._patience_after(answered), unwanted)
        failures = _failures()
        pause, earlier = _FIRST_PAUSE, None
        while True:
            try:
                result = operation(self._connected(), call)
            except failures as exc:
                diagnosis = diagnose(exc)
                if diagnosis is CONNECTION_LOST and not call.has_time_for(0):
                    diagnosis = earlier or diagnosis  # we cut the connection: what led to that says more
                if status(exc):
                    call.answered = self._answered = True
                if not diagnosis.transient:
                    raise diagnosis.error(attempted) from exc
                jittered = random.uniform(pause / 2, pause)
                if not call.has_time_for(jittered):
                    raise diagnosis.error(attempted, call.age) from exc
                self._clock.sleep(jittered)
                pause, earlier = min(pause * 2, self._patience.longest_pause), diagnosis
            else:
                self._answered = True
                return result

    def _patience_after(self, answered: bool) -> float:
        return self._patience.total if self._answered or answered else self._patience.first_contact

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = s3_client.make_client(
                    self._spec,
                    connections=self._connections,
                    connect_timeout=self._patience.connect,
                    read_timeout=self._patience.silence,
                )
            return self._client


def _failures() -> tuple[type[Exception], ...]:
    """The roots of what botocore raises, and of what it lets through from below while a body is read."""
    exceptions = require("botocore.exceptions")
    return exceptions.BotoCoreError, exceptions.ClientError, require("urllib3.exceptions").HTTPError, OSError, GaveUp
