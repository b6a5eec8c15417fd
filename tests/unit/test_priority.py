# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Letting others go first, as the kernel sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import priority
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import Warned
from fakes import Collector

SCRIPT = """
import json, os, subprocess, sys, threading
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.priority import yield_to_others

class Sink:
    said = []
    def emit(self, event):
        self.said.append(event.message)

def seen():
    disk = subprocess.run(["ionice", "-p", str(threading.get_native_id())], capture_output=True, text=True, check=True)
    found.append([os.getpriority(os.PRIO_PROCESS, 0), disk.stdout.strip()])

found = []
before = os.getpriority(os.PRIO_PROCESS, 0)
yield_to_others(Sink())
seen()
later = threading.Thread(target=seen)
later.start()
later.join()
print(json.dumps([before, found, Sink.said]))
"""


def test_process_and_threads_come_after_others_at_the_processor_and_at_the_disk() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    before, found, said = json.loads(done.stdout)
    assert found == [[min(19, before + 10), "idle"]] * 2
    assert said == []


def test_where_the_disk_cannot_be_told_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority.os, "nice", lambda more: 0)
    monkeypatch.setattr(priority.platform, "machine", lambda: "pdp11")
    sink = Collector()
    priority.yield_to_others(sink)
    assert [type(event) for event in sink.events] == [Warned]
