# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The receiver's replication slot on real servers: made, looked at, in danger, lost, dropped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import PreconditionError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres import connection as sessions
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres import slots
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.connection import Connection
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.wal_names import format_lsn
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.specs import ConnectionSpec
from harness import Cluster, wait_until

NAME = "lifeboat_main"


@pytest.fixture
def session(cluster: Cluster) -> Iterator[Connection]:
    spec = ConnectionSpec(port=cluster.port, socket_directory=str(cluster.socket_dir))
    with sessions.connect(spec, None) as opened:
        yield opened


def fill_a_segment(cluster: Cluster) -> None:
    """Begin another segment, so that the one before counts."""
    cluster.sql("SELECT pg_create_restore_point('filler')")
    cluster.sql("SELECT pg_switch_wal()")


@pytest.mark.every_version
def test_a_slot_comes_and_goes(cluster: Cluster, session: Connection) -> None:
    assert slots.ensure(session, NAME, check_mode=True)
    assert slots.look(session, NAME) is None
    assert slots.ensure(session, NAME)
    assert not slots.ensure(session, NAME)
    slot = slots.look(session, NAME)
    assert slot is not None
    assert (slot.physical, slot.wal_status, slot.limit_bytes, slot.warnings()) == (True, "reserved", None, [])
    assert slot.restart_lsn is not None  # WAL is kept from now on, not from the first connection on
    fill_a_segment(cluster)
    later = slots.look(session, NAME)
    assert later is not None
    assert (later.retained_bytes or 0) > 0
    assert slots.drop(session, NAME, check_mode=True)
    assert slots.look(session, NAME) is not None
    assert slots.drop(session, NAME)
    assert not slots.drop(session, NAME)


@pytest.mark.every_version
def test_a_limit_is_warned_about_before_and_after_the_slot_is_lost(cluster: Cluster, session: Connection) -> None:
    cluster.set(max_slot_wal_keep_size="32MB", checkpoint_timeout="1h", max_wal_size="1GB")
    slots.ensure(session, NAME)
    fill_a_segment(cluster)
    fill_a_segment(cluster)
    (warning,) = _look(session).warnings()
    assert "gives it up" in warning
    for _each in range(3):
        fill_a_segment(cluster)
    cluster.sql("CHECKPOINT")
    assert _look(session).lost
    assert "is lost" in _look(session).warnings()[0]
    assert not slots.ensure(session, NAME)  # only who receives knows what is missing
    slots.make_again(session, NAME)
    assert _look(session).wal_status == "reserved"


def test_what_is_not_ours_is_refused(cluster: Cluster, session: Connection) -> None:
    cluster.set(wal_level="logical")
    cluster.restart()
    cluster.sql(f"SELECT pg_create_logical_replication_slot('{NAME}', 'pgoutput')")
    spec = ConnectionSpec(port=cluster.port, socket_directory=str(cluster.socket_dir))
    with sessions.connect(spec, None) as again:
        for refused in (slots.ensure, slots.drop):
            with pytest.raises(PreconditionError) as caught:
                refused(again, NAME)
            assert caught.value.code == "slot_of_another_kind"


def test_a_slot_in_use_is_not_dropped_and_all_in_use_is_said(cluster: Cluster) -> None:
    cluster.set(max_replication_slots=1)
    cluster.restart()
    spec = ConnectionSpec(port=cluster.port, socket_directory=str(cluster.socket_dir))
    with sessions.connect(spec, None) as again:
        slots.ensure(again, NAME)
        with pytest.raises(PreconditionError) as caught:
            slots.ensure(again, "another")
        assert caught.value.code == "slots_exhausted"
        with contextlib.closing(cluster.connect(replication="true", db="replication")) as sender:
            begin = format_lsn(_look(again).restart_lsn or 0)
            sender.pgconn.send_query(f'START_REPLICATION SLOT "{NAME}" PHYSICAL {begin}'.encode())
            wait_until(lambda: _look(again).active_pid is not None, "the slot was in use")
            with pytest.raises(PreconditionError) as caught:
                slots.drop(again, NAME)
            assert caught.value.code == "slot_in_use"


def _look(session: Connection) -> slots.Slot:
    found = slots.look(session, NAME)
    assert found is not None
    return found
