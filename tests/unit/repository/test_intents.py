# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Intents: who is alive, who is certainly dead, and who wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.clock import Clock, SystemClock, utc_text
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import PreconditionError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.intents import (
    Holder,
    Intent,
    Intents,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.repository import create
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.stanza import Stanza
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.local import LocalStore
from fakes import MemoryStore
from made import KEY

HERE = Holder.here()
ELSEWHERE = replace(HERE, host="some other host")


def intent(clock: Clock, backup_id: str = "backup1", **changes: Any) -> Intent:
    now = utc_text(clock.now())
    values: dict[str, Any] = {
        "backup_id": backup_id,
        "backup_type": "full",
        "incarnation": "i" * 16,
        "generation": backup_id,
        "parent": None,
        "pack_prefix": "0" * 16,
        "started": now,
        "refreshed": now,
        "holder": HERE,
    }
    return Intent(**{**values, **changes})


def test_what_was_written_is_found(stanza: Stanza, clock: Clock) -> None:
    written = intent(clock, resumes=("backup0",))
    Intents(stanza).write(written)
    assert Intents(stanza).all() == [written]


def test_a_sign_of_life_counts_and_brings_nothing_back(stanza: Stanza, clock: Clock, store: MemoryStore) -> None:
    intents, mine = Intents(stanza), intent(clock, holder=ELSEWHERE)
    intents.write(mine)
    clock.sleep(3600)
    assert not intents.all()[0].is_alive(clock.now())
    intents.refresh(mine, clock)
    assert intents.all()[0].is_alive(clock.now())
    intents.remove(mine.backup_id)
    assert (intents.all(), intents.exists(mine.backup_id), list(store.list("stanzas"))) == ([], False, [])
    intents.refresh(mine, clock)  # by a process that does not know yet
    assert (intents.all(), intents.exists(mine.backup_id)) == ([], False)


def test_an_intent_goes_before_what_lies_beside_it(
    stanza: Stanza, clock: Clock, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    intents, mine = Intents(stanza), intent(clock)
    intents.write(mine)
    intents.refresh(mine, clock)
    intents.journal(mine, "000001", [b"{}\n"])
    gone: list[str] = []
    monkeypatch.setattr(store, "delete", lambda name, **_how: gone.append(name.rpartition("backup1/")[2]))
    intents.remove(mine.backup_id)
    assert gone[0] == "intent"
    assert sorted(gone[1:]) == ["alive", "intent", "journal/000001"]


@pytest.mark.parametrize(
    ("changes", "dead"),
    [
        ({}, False),
        ({"process_started": "1"}, True),
        ({"host": "another"}, None),
        ({"namespace": "a container's"}, None),
        ({"boot": "before", "machine": "m"}, True),
        ({"boot": "before", "machine": "another of this name"}, None),
        ({"boot": "before", "machine": ""}, None),
    ],
)
def test_only_what_can_be_known_is_said(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], dead: bool | None
) -> None:
    monkeypatch.setattr(
        "ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.repository.intents._machine", lambda: "m"
    )
    assert replace(HERE, **changes).is_dead() is dead


def test_one_of_two_that_begin_at_once_wins_and_the_other_names_it(tmp_path: Path) -> None:
    """Both write before either looks: each sees the other, and still one of them gets the stanza."""
    clock = SystemClock()
    stanza = Stanza(create(LocalStore(tmp_path / "repository"), KEY, clock), "main")
    both = threading.Barrier(2, timeout=60)
    outcomes: dict[str, str] = {}

    class Together(Intents):
        first = True

        def write(self, intent: Intent) -> None:
            if self.first:
                both.wait()
            super().write(intent)
            if self.first:
                self.first = False
                both.wait()

    def begin(name: str) -> Callable[[], None]:
        def run() -> None:
            try:
                Together(stanza).claim(intent(clock, name), clock)
                outcomes[name] = "won"
            except PreconditionError as error:
                outcomes[name] = f"{error.code}: {error.happened}"

        return run

    threads = [threading.Thread(target=begin(name)) for name in ("backup1", "backup2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (winner,) = (name for name, outcome in outcomes.items() if outcome == "won")
    (loser,) = set(outcomes) - {winner}
    assert outcomes[loser].startswith("backup_running: ")
    assert f"{winner} is running on {HERE.host} (process {HERE.pid}" in outcomes[loser]
    assert [each.backup_id for each in Intents(stanza).all()] == [winner]
