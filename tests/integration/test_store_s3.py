# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store in a bucket of a real server: what goes wrong passes unnoticed, or ends in one clear error with nothing
half-visible."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import S3Spec
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.s3 import S3Store
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.s3_calls import Patience
from harness import BUILD, RunFolder, free_port
from harness.fault_proxy import (
    Answer,
    Delay,
    Drip,
    Fault,
    FaultProxy,
    Truncate,
    damage_request,
    ignore_range,
    lose_answer,
    reset,
    stall,
)
from harness.rclone import BUCKET, Rclone
from harness.s3 import Account, Place, S3Server
from s3_fixtures import IMPATIENT, PATIENT, SMALLEST_PART, HastyClock

LARGE = os.urandom(2 * SMALLEST_PART + 1000)
TroubledStore = Callable[[Patience], S3Store]

# One request of each sort that a store makes.
EACH_SORT = ["GET .*some/name", "GET .*list-type", "HEAD ", r"PUT [^?]*$", "PUT .*partNumber=2", "DELETE ", "POST "]


def write(store: S3Store, name: str, data: bytes) -> None:
    with store.writer(name) as writer:
        for start in range(0, len(data), 1 << 20):
            writer.write(data[start : start + (1 << 20)])
        writer.commit()


def use(store: S3Store) -> None:
    """Everything that a store can do, each giving what it must."""
    assert store.put("some/name", b"0123456789")
    write(store, "some/large", LARGE)
    assert store.get("some/name") == b"0123456789"
    assert store.get_range("some/name", 3, 4) == b"3456"
    assert store.get_range("some/large", SMALLEST_PART - 5, 10) == LARGE[SMALLEST_PART - 5 : SMALLEST_PART + 5]
    assert store.size("some/large") == len(LARGE)
    assert [(info.name, info.size) for info in store.list("some/")] == [("some/large", len(LARGE)), ("some/name", 10)]
    store.delete("some/name")
    assert store.size("some/name") is None


@contextmanager
def fails(code: str) -> Iterator[pytest.ExceptionInfo[LifeboatError]]:
    with pytest.raises(LifeboatError) as failure:
        yield failure
    assert failure.value.code == code, failure.value.message


# --- faults that pass


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Answer(500, "InternalError"), id="500"),
        pytest.param(Answer(503, "SlowDown"), id="slow down"),
        pytest.param(Answer(429, "TooManyRequests"), id="429"),
        pytest.param(Answer(409, "OperationAborted"), id="409"),
        pytest.param(Answer(400, "RequestTimeout"), id="request timeout"),
        pytest.param(reset, id="reset"),
        pytest.param(lose_answer, id="lost answer"),
    ],
)
def test_a_fault_that_passes_is_not_noticed(troubled_store: TroubledStore, proxy: FaultProxy, fault: Fault) -> None:
    for sort in EACH_SORT:
        proxy.plan(sort, fault, times=2)
    use(troubled_store(PATIENT))
    assert proxy.to_come == []


@pytest.mark.parametrize("sort", ["GET ", "PUT .*partNumber=1"])
def test_a_server_that_falls_silent_is_asked_again(troubled_store: TroubledStore, proxy: FaultProxy, sort: str) -> None:
    proxy.plan(sort, stall, times=1)
    use(troubled_store(replace(PATIENT, silence=3)))


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Truncate(7), id="cut"),
        pytest.param(Truncate(0), id="cut at once"),
        pytest.param(Truncate(7, and_stall=True), id="silent in the middle"),
        pytest.param(Drip(5, 0.1), id="slow"),
    ],
)
def test_a_body_arrives_whole(troubled_store: TroubledStore, proxy: FaultProxy, fault: Fault) -> None:
    store = troubled_store(replace(PATIENT, silence=3))
    store.put("name", b"0123456789")
    proxy.plan("GET .*name", fault, times=1)
    assert store.get("name") == b"0123456789"
    proxy.plan("GET .*name", fault, times=1)
    assert store.get_range("name", 1, 8) == b"12345678"


@pytest.mark.parametrize("size", [1000, len(LARGE)])
def test_a_body_that_was_damaged_on_its_way_is_refused_by_the_server_and_sent_again(
    troubled_store: TroubledStore, proxy: FaultProxy, size: int
) -> None:
    proxy.plan("PUT ", damage_request, times=2)
    store = troubled_store(PATIENT)
    write(store, "name", LARGE[:size])
    assert store.get("name") == LARGE[:size]


def test_who_created_an_object_is_known_although_the_answer_was_lost(
    troubled_store: TroubledStore, proxy: FaultProxy
) -> None:
    store = troubled_store(PATIENT)
    assert store.conditional_create
    proxy.plan("PUT ", lose_answer, times=1)
    assert store.put("name", b"first", if_absent=True)
    proxy.plan("PUT ", lose_answer, times=1)
    assert not store.put("name", b"second", if_absent=True)
    assert store.get("name") == b"first"


# --- faults that stay


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        pytest.param(Answer(500, "InternalError"), "storage_failed", id="500"),
        pytest.param(Answer(503, "SlowDown"), "storage_throttled", id="slow down"),
        pytest.param(Answer(507, "Whatever"), "storage_full", id="507"),
        pytest.param(Answer(403, "AccessDenied"), "storage_not_permitted", id="denied"),
        pytest.param(Answer(400, "ExpiredToken"), "storage_credentials_expired", id="expired"),
        pytest.param(Answer(403, "RequestTimeTooSkewed"), "storage_clock_skewed", id="clock"),
        pytest.param(reset, "storage_connection_lost", id="reset"),
        pytest.param(stall, "storage_connection_lost", id="stall"),
        pytest.param(damage_request, "storage_damages_data", id="damage"),
    ],
)
def test_a_fault_in_the_middle_of_an_upload_leaves_nothing(
    troubled_store: TroubledStore, proxy: FaultProxy, s3: S3Server, s3_place: Place, fault: Fault, code: str
) -> None:
    proxy.plan("PUT .*partNumber=2", fault)
    with fails(code) as failure:
        write(troubled_store(IMPATIENT), "name", LARGE)
    assert s3.owner.secret_key not in str(failure.value.as_dict())
    assert (s3.names(s3_place), s3.unfinished_uploads(s3_place)) == ([], [])


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        pytest.param(Answer(500, "InternalError"), "storage_failed", id="500"),
        pytest.param(Truncate(7), "storage_connection_lost", id="cut"),
        pytest.param(Truncate(7, and_stall=True), "storage_connection_lost", id="silent in the middle"),
        pytest.param(Drip(100, 0.1), "storage_connection_lost", id="too slow"),
        pytest.param(Answer(403, "InvalidObjectState"), "object_archived", id="archive tier"),
        pytest.param(ignore_range, "range_ignored", id="ranges ignored"),
    ],
)
def test_a_body_that_does_not_arrive_is_an_error(
    s3_store: S3Store, troubled_store: TroubledStore, proxy: FaultProxy, fault: Fault, code: str
) -> None:
    s3_store.put("name", bytes(1000))
    proxy.plan("GET .*name", fault)
    with fails(code):
        troubled_store(replace(IMPATIENT, first_contact=5, total=5)).get_range("name", 10, 900)


def test_the_upload_is_aborted_when_it_cannot_be_completed(
    troubled_store: TroubledStore, proxy: FaultProxy, s3: S3Server, s3_place: Place
) -> None:
    proxy.plan("POST .*uploadId", Answer(403, "AccessDenied"))
    with fails("storage_not_permitted"):
        write(troubled_store(IMPATIENT), "name", LARGE)
    assert (s3.names(s3_place), s3.unfinished_uploads(s3_place)) == ([], [])


def test_an_upload_that_is_not_committed_leaves_nothing(s3_spec: S3Spec, s3: S3Server, s3_place: Place) -> None:
    store = S3Store(s3_place.url, s3_spec, part_bytes=SMALLEST_PART)
    with store.writer("name") as writer:
        writer.write(LARGE)
    assert (s3.names(s3_place), s3.unfinished_uploads(s3_place)) == ([], [])


VICTIM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import S3Spec
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.s3 import S3Store
url, endpoint, credentials = sys.argv[2:]
store = S3Store(url, S3Spec(endpoint=endpoint, credentials_file=Path(credentials)), part_bytes=5 << 20)
writer = store.writer("name")
writer.write(bytes(11 << 20))
print("written", flush=True)
sys.stdin.read()
"""


def test_a_killed_process_leaves_no_object(s3_spec: S3Spec, s3: S3Server, s3_place: Place) -> None:
    where = [s3_place.url, str(s3_spec.endpoint), str(s3_spec.credentials_file)]
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(BUILD / "collections"), *where],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert victim.stdout and victim.stdout.readline() == "written\n"
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert s3.names(s3_place) == []
    # What it had sent is invisible, and takes space until somebody discards it.
    assert s3.unfinished_uploads(s3_place) == ["name"]
    store = S3Store(s3_place.url, s3_spec)
    assert list(store.unfinished("elsewhere/")) == []
    (found,) = store.unfinished("")
    assert (found.name, found.since.tzinfo is not None) == ("name", True)
    assert abs((found.since - SystemClock().now()).total_seconds()) < 3600
    for _ignored in range(2):
        store.discard(found)
    assert s3.unfinished_uploads(s3_place) == []


# --- what a real server refuses


def test_a_wrong_secret_is_named(store_for: Callable[..., S3Store], s3: S3Server) -> None:
    with fails("storage_secret_wrong") as failure:
        store_for(Account(s3.owner.access_key, "not-the-secret")).get("name")
    assert "not-the-secret" not in str(failure.value.as_dict())


def test_an_unknown_key_is_named(store_for: Callable[..., S3Store]) -> None:
    with fails("storage_access_key_unknown"):
        store_for(Account("NOBODY", "secret")).size("name")


@pytest.mark.parametrize("action", ["put", "get", "list", "size"])
def test_a_strangers_bucket_is_denied(store_for: Callable[..., S3Store], s3: S3Server, action: str) -> None:
    store = store_for(s3.stranger)
    actions: dict[str, Callable[[], object]] = {
        "put": lambda: store.put("name", b""),
        "get": lambda: store.get("name"),
        "list": lambda: list(store.list("")),
        "size": lambda: store.size("name"),
    }
    with fails("storage_not_permitted"):
        actions[action]()


@pytest.mark.parametrize("action", ["put", "get", "list", "size"])
def test_a_missing_bucket_is_named(store_for: Callable[..., S3Store], s3: S3Server, action: str) -> None:
    store = store_for(s3.owner, "s3://no-such-bucket/prefix")
    actions: dict[str, Callable[[], object]] = {
        "put": lambda: store.put("name", b""),
        "get": lambda: store.get("name"),
        "list": lambda: list(store.list("")),
        "size": lambda: store.size("name"),
    }
    with fails("storage_bucket_missing"):
        actions[action]()


def test_a_used_up_quota_is_named_and_leaves_nothing(store_for: Callable[..., S3Store], s3: S3Server) -> None:
    place = Place(s3.new_bucket(), "p")
    s3.limit_bucket(place.bucket, 1 << 20)
    with fails("storage_full"):
        write(store_for(s3.owner, place.url), "name", LARGE)
    assert (s3.names(place), s3.unfinished_uploads(place)) == ([], [])


def test_an_unreachable_server_is_named(s3_spec: S3Spec) -> None:
    spec = replace(s3_spec, endpoint=f"http://127.0.0.1:{free_port()}")
    with fails("storage_unreachable"):
        S3Store("s3://bucket", spec, clock=HastyClock()).get("name")


def test_an_untrusted_certificate_is_named(s3: S3Server, s3_spec: S3Spec) -> None:
    with fails("storage_certificate_refused"):
        S3Store("s3://bucket", replace(s3_spec, endpoint=s3.tls_endpoint)).get("name")


def test_tls_where_none_is_spoken_is_named(s3: S3Server, s3_spec: S3Spec) -> None:
    endpoint = s3.endpoint.replace("http:", "https:")
    with fails("storage_tls_failed"):
        S3Store("s3://bucket", replace(s3_spec, endpoint=endpoint)).get("name")


# --- credentials from elsewhere than the user's file


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home directory without credentials, an environment without any, and no machine role."""
    for variable in [variable for variable in os.environ if variable.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_credentials_of_the_environment_are_used(
    nowhere: Path, s3: S3Server, s3_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.owner.environment.items():
        monkeypatch.setenv(name, value)
    assert S3Store(s3_place.url, S3Spec(endpoint=s3.endpoint)).put("name", b"")


@pytest.mark.parametrize("profile", [None, "backups"])
def test_credentials_of_the_home_directory_are_used(
    nowhere: Path, s3: S3Server, s3_place: Place, profile: str | None
) -> None:
    (nowhere / ".aws").mkdir()
    s3.owner.write(nowhere / ".aws/credentials", profile=profile or "default")
    assert S3Store(s3_place.url, S3Spec(endpoint=s3.endpoint, profile=profile)).put("name", b"")


@pytest.fixture
def machine_role(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What a cloud's machine gets from its own address for metadata: the access key of its role."""

    class Metadata(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.reply("a session's token")

        def do_GET(self) -> None:
            keys = {"AccessKeyId": "ROLE", "SecretAccessKey": "secret", "Token": "token", "Code": "Success"}
            expiry = {"Expiration": "2999-01-01T00:00:00Z", "LastUpdated": "2026-01-01T00:00:00Z"}
            self.reply("backups" if self.path.endswith("/") else json.dumps({**keys, **expiry}))

        def reply(self, text: str) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        yield "ROLE"
        server.shutdown()


def test_credentials_of_the_machines_role_are_used(machine_role: str, proxy: FaultProxy) -> None:
    proxy.plan("GET ", Answer(403, "AccessDenied"))
    with fails("storage_not_permitted"):
        S3Store("s3://bucket", S3Spec(endpoint=proxy.endpoint)).get("name")
    assert f"Credential={machine_role}/" in proxy.last_headers["Authorization"]
    assert proxy.last_headers["X-Amz-Security-Token"] == "token"


def test_no_credentials_are_named(nowhere: Path, s3: S3Server) -> None:
    with fails("storage_credentials_missing"):
        S3Store("s3://bucket", S3Spec(endpoint=s3.endpoint)).get("name")


def test_an_unknown_profile_is_named(nowhere: Path, s3: S3Server) -> None:
    with fails("storage_profile_unknown"):
        S3Store("s3://bucket", S3Spec(endpoint=s3.endpoint, profile="nobody")).get("name")


# --- many at once


def test_threads_share_a_store(s3_store: S3Store) -> None:
    def work(number: int) -> bytes:
        write(s3_store, f"name{number}", LARGE[number:])
        return s3_store.get(f"name{number}")

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(work, range(6))) == [LARGE[number:] for number in range(6)]


def test_one_of_many_creates_an_object(s3_store: S3Store) -> None:
    begin = threading.Barrier(8)

    def create(number: int) -> bool:
        begin.wait()
        return s3_store.put("name", b"%d" % number, if_absent=True)

    with ThreadPoolExecutor(8) as threads:
        created = list(threads.map(create, range(8)))
    assert created.count(True) == 1
    assert s3_store.get("name") == b"%d" % created.index(True)


def test_parts_on_their_way_are_limited_for_all_writers_together(
    troubled_store: TroubledStore, proxy: FaultProxy
) -> None:
    """So that memory is."""
    proxy.plan("PUT .*partNumber", Delay(0.3))
    store = troubled_store(PATIENT)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: write(store, f"name{number}", LARGE * 2), range(4)))
    assert 1 < proxy.most_parts_at_once <= 6


# --- what the server can do


def test_later_processes_learn_with_one_request_that_creation_is_conditional(
    troubled_store: TroubledStore, proxy: FaultProxy, s3: S3Server, s3_place: Place
) -> None:
    first, second = troubled_store(PATIENT), troubled_store(PATIENT)
    assert first.conditional_create and first.conditional_create
    assert proxy.count("PUT ") == 2
    assert second.conditional_create
    assert proxy.count("PUT ") == 3
    assert list(second.list("")) == []
    assert s3.names(s3_place) == ["conditional-write-probe"]


def test_a_server_that_refuses_conditions_is_asked_first(troubled_store: TroubledStore, proxy: FaultProxy) -> None:
    proxy.plan("PUT .*conditional-write-probe", Answer(501, "NotImplemented"))
    store = troubled_store(PATIENT)
    assert not store.conditional_create
    assert store.put("name", b"first", if_absent=True)
    assert not store.put("name", b"second", if_absent=True)
    assert store.get("name") == b"first"


@pytest.fixture
def careless_store(run_folder: RunFolder, tmp_path: Path) -> Iterator[S3Store]:
    """A store in a server that takes the protocol lightly."""
    server = Rclone(run_folder.folder("rclone") / tmp_path.name)
    credentials = server.owner.write(tmp_path / "credentials")
    spec = S3Spec(endpoint=server.endpoint, credentials_file=credentials)
    yield S3Store(f"s3://{BUCKET}/prefix", spec, patience=PATIENT, part_bytes=SMALLEST_PART)
    server.stop()


def test_a_careless_server_is_good_enough(careless_store: S3Store) -> None:
    use(careless_store)


def test_a_server_that_ignores_conditions_is_found_out(careless_store: S3Store) -> None:
    assert careless_store.put("name", b"first", if_absent=True)
    assert not careless_store.put("name", b"second", if_absent=True)
    assert careless_store.get("name") == b"first"
    assert not careless_store.conditional_create
