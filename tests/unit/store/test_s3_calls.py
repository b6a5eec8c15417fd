# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A call is repeated as long as that may help, and not longer."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import expect
import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import S3Spec
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.s3_calls import (
    Call,
    Patience,
    S3Calls,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.s3_errors import GaveUp
from botocore.exceptions import ClientError, EndpointConnectionError
from fakes import SteppedClock

PATIENCE = Patience(first_contact=15, total=300, longest_pause=5)


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.fixture
def stepped() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def calls(stepped: SteppedClock) -> S3Calls:
    return S3Calls(S3Spec(endpoint="http://127.0.0.1:1"), 1, PATIENCE, stepped)


def answered(status: int, code: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "GetObject")


def failing(*failures: Exception | None) -> tuple[Callable[[Any, Call], str], list[Exception | None]]:
    """An operation that fails like this, one after another; the last for ever unless it is None."""
    to_come = list(failures)

    def operation(_client: Any, _call: Call) -> str:
        failure = to_come.pop(0) if len(to_come) > 1 else to_come[0]
        if failure is not None:
            raise failure
        return "result"

    return operation, to_come


def test_what_passes_is_repeated(calls: S3Calls, stepped: SteppedClock) -> None:
    operation, _ignored = failing(answered(503), answered(500), ConnectionResetError(), None)
    began = stepped.monotonic()
    assert calls.run("reading", operation) == "result"
    assert stepped.monotonic() > began  # it paused


def test_what_stays_is_not_repeated(calls: S3Calls, stepped: SteppedClock) -> None:
    operation, _ignored = failing(answered(403, "AccessDenied"))
    began = stepped.monotonic()
    with expect.failure("storage_not_permitted"):
        calls.run("reading", operation)
    assert stepped.monotonic() == began


def test_a_server_that_has_never_answered_is_given_up_soon(calls: S3Calls, stepped: SteppedClock) -> None:
    operation, _ignored = failing(EndpointConnectionError(endpoint_url="x"))
    began = stepped.monotonic()
    with expect.failure("storage_unreachable"):
        calls.run("reading", operation)
    assert 5 < stepped.monotonic() - began <= 15


@pytest.mark.parametrize("before", [None, answered(404)])
def test_a_server_that_has_answered_is_waited_for(
    calls: S3Calls, stepped: SteppedClock, before: Exception | None
) -> None:
    operation, _ignored = failing(before)
    if before is None:
        calls.run("reading", operation)
    else:
        with expect.failure("storage_failed"):
            calls.run("reading", operation)
    began = stepped.monotonic()
    with expect.failure("storage_unreachable"):
        calls.run("reading", failing(EndpointConnectionError(endpoint_url="x"))[0])
    assert 290 < stepped.monotonic() - began <= 300


def test_an_answer_makes_the_same_call_patient(calls: S3Calls, stepped: SteppedClock) -> None:
    began = stepped.monotonic()
    with expect.failure("storage_throttled"):
        calls.run("reading", failing(answered(503, "SlowDown"))[0])
    assert 290 < stepped.monotonic() - began <= 300


def test_a_limit_of_the_callers_is_kept(calls: S3Calls, stepped: SteppedClock) -> None:
    began = stepped.monotonic()
    with expect.failure("storage_throttled"):
        calls.run("reading", failing(answered(503, "SlowDown"))[0], within=10)
    assert stepped.monotonic() - began <= 10


def test_what_nobody_wants_any_more_is_not_repeated(calls: S3Calls, stepped: SteppedClock) -> None:
    unwanted = threading.Event()
    unwanted.set()
    began = stepped.monotonic()
    with expect.failure("storage_failed"):
        calls.run("writing", failing(answered(500))[0], unwanted=unwanted)
    assert stepped.monotonic() == began


def test_a_body_is_sent_no_further_when_it_is_unwanted(stepped: SteppedClock) -> None:
    unwanted = threading.Event()
    call = Call(stepped, lambda _answered: 100, unwanted)
    body = call.body(b"0123456789")
    assert body.read(4) == b"0123"
    unwanted.set()
    with pytest.raises(GaveUp):
        body.read(4)


def test_an_endless_body_is_given_up(calls: S3Calls, stepped: SteppedClock) -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            stepped.seconds += 1
            return b"x"

    with expect.failure("storage_connection_lost"):
        calls.run("reading", lambda _client, call: call.read(Endless()))


def test_a_first_body_has_all_the_time(calls: S3Calls, stepped: SteppedClock) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            stepped.seconds += 50
            return super().read(2)

    assert calls.run("reading", lambda _client, call: call.read(Slow(b"0123"))) == b"0123"


def test_when_we_cut_the_connection_the_error_is_what_came_before(calls: S3Calls, stepped: SteppedClock) -> None:
    def operation(_client: Any, call: Call) -> None:
        if call.age == 0:
            raise answered(503, "SlowDown")
        stepped.seconds += 1000
        call.check()

    with expect.failure("storage_throttled"):
        calls.run("reading", operation)


def test_a_defect_of_ours_is_not_taken_for_the_servers(calls: S3Calls) -> None:
    with pytest.raises(ZeroDivisionError):
        calls.run("reading", lambda _client, _call: 1 / 0)
