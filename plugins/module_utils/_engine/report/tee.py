# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several sinks behind one."""

from __future__ import annotations

from ..ports import ProgressSink
from .events import Event


class Tee:
    """Gives every event to each sink, in their order."""

    def __init__(self, *sinks: ProgressSink) -> None:
        self._sinks = sinks

    def emit(self, event: Event) -> None:
        """Pass the event on."""
        for sink in self._sinks:
            sink.emit(event)
