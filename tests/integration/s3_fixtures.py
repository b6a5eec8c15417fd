# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for tests with buckets: a real S3 server, buckets in it, and stores in these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import SystemClock
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import S3Spec
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.s3 import S3Store
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.s3_calls import Patience
from harness import RunFolder
from harness.fault_proxy import FaultProxy
from harness.s3 import Account, Place, S3Server

# S3's limit; only the last part may be smaller.
SMALLEST_PART = 5 << 20
# However slow the machine is, this is patience enough; and this is little where pauses take no time.
PATIENT = Patience(connect=10, silence=10, first_contact=120, total=120, longest_pause=0.2)
IMPATIENT = Patience(connect=5, silence=3, first_contact=30, total=30, longest_pause=30)


class HastyClock(SystemClock):
    """The machine's clock, but pauses take no time."""

    def __init__(self) -> None:
        self._skipped = 0.0

    def monotonic(self) -> float:
        """Seconds, those that were skipped included."""
        return super().monotonic() + self._skipped

    def sleep(self, seconds: float) -> None:
        """Skip the pause."""
        self._skipped += seconds


@pytest.fixture(scope="session")
def s3(run_folder: RunFolder) -> S3Server:
    """The S3 server of this run."""
    return S3Server(run_folder)


@pytest.fixture
def s3_place(s3: S3Server) -> Place:
    """A prefix of the test's own."""
    return s3.new_place()


@pytest.fixture
def s3_spec(s3: S3Server, tmp_path: Path) -> S3Spec:
    """How to reach the server as the buckets' owner."""
    return S3Spec(endpoint=s3.endpoint, credentials_file=s3.owner.write(tmp_path / "owner.credentials"))


@pytest.fixture
def s3_store(s3_place: Place, s3_spec: S3Spec) -> S3Store:
    """A store in the place."""
    return S3Store(s3_place.url, s3_spec)


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[FaultProxy]:
    """A proxy before the server that can be told to make trouble."""
    with FaultProxy(s3.endpoint) as proxy:
        yield proxy


@pytest.fixture
def troubled_store(s3_place: Place, s3_spec: S3Spec, proxy: FaultProxy) -> Callable[[Patience], S3Store]:
    """Makes stores in the place that are reached by way of the proxy, upload in small parts and do not pause."""
    spec = replace(s3_spec, endpoint=proxy.endpoint)
    return lambda patience: S3Store(s3_place.url, spec, patience=patience, part_bytes=SMALLEST_PART, clock=HastyClock())


@pytest.fixture
def store_for(s3: S3Server, s3_place: Place, tmp_path: Path) -> Callable[..., S3Store]:
    """Makes stores in the place (or another) for other accounts."""

    def make(account: Account, url: str = s3_place.url) -> S3Store:
        credentials = account.write(tmp_path / f"{account.access_key}.credentials")
        return S3Store(url, S3Spec(endpoint=s3.endpoint, credentials_file=credentials), patience=PATIENT)

    return make
