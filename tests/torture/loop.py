# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop itself."""

from __future__ import annotations

import sys
import time

from support import task
from write_load import WriteLoad

from .actions import WEIGHTS, Actions
from .model import World


class TortureFailed(AssertionError):
    """Something that must hold did not; the message has the seed and everything that was done."""


def torment(world: World, seed: int, seconds: float, least: int = 5) -> int:
    """Act at random for so long, at least so often; how many actions there were."""
    actions = Actions(world)
    deadline = time.monotonic() + seconds
    number = 0
    with WriteLoad(world.site.cluster):  # makes the tables that are compared
        pass
    world.rest()
    world.note(f"first backup: {actions.full()}")
    while number < least or time.monotonic() < deadline:
        number += 1
        (name,) = world.chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
        sys.stdout.write(f"{number}. {name}")
        sys.stdout.flush()
        world.note(f"{number}. {name}")
        try:
            happened = getattr(actions, name)()
            world.must_hold()
        except Exception as error:
            story = "\n".join(world.diary)
            raise TortureFailed(f"SEED={seed}\n{story}\n{type(error).__name__}: {error}") from error
        world.diary[-1] += f": {happened}"
        sys.stdout.write(f": {happened}\n")
    return number


def judge_in_the_end(world: World) -> None:
    """One more backup leaves nothing of the dead ones; every backup is whole; the newest can be restored."""
    Actions(world).full()
    world.must_hold()
    world.site.play(*(task("backup_verify", backup=backup) for backup in world.backups))
    world.site.module("backup_verify", level="restore")
