# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Letting others go first: a lower priority for the processor and for the disk."""

from __future__ import annotations

import ctypes
import os
import platform

from .ports import ProgressSink
from .report.events import Warned

_NICE = 10
# ioprio_set has no wrapper in the C library; its number differs between processors.
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "ppc64le": 273, "s390x": 282, "riscv64": 30}
_WHO_PROCESS, _CLASS_IDLE, _CLASS_SHIFT = 1, 3, 13


def yield_to_others(sink: ProgressSink) -> None:
    """For this process and what it starts from now on. Threads begun later inherit it."""
    os.nice(_NICE)
    number = _IOPRIO_SET.get(platform.machine())
    if number is None or ctypes.CDLL(None).syscall(number, _WHO_PROCESS, 0, _CLASS_IDLE << _CLASS_SHIFT) != 0:
        sink.emit(Warned("the disk priority could not be lowered on this machine"))
