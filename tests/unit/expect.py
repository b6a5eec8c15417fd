# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests expect of failures."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError


@contextlib.contextmanager
def failure(code: str) -> Iterator[pytest.ExceptionInfo[LifeboatError]]:
    """The block must fail with an error of ours that has this code."""
    with pytest.raises(LifeboatError) as raised:
        yield raised
    assert raised.value.code == code, raised.value.message


def soon(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """What another thread does must become so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it has not come true"
        time.sleep(0.005)
