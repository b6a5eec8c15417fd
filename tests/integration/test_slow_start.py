# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that took long to start is still the one whose files are read.

The time in postmaster.pid is that of the process, the one that SQL tells is taken when everything is ready.
"""

from __future__ import annotations

import os
import threading
import time

from harness import server_user, wait_until
from support import Site

LONGER_THAN_ANY_CLOCK_IS_WRONG = 7


def test_a_server_that_was_slow_to_start_is_no_other_server(bare_site: Site) -> None:
    """It writes its number into a pipe that nobody reads for a while, between the two times."""
    site, cluster = bare_site, bare_site.cluster
    pipe = cluster.root / "pid.pipe"
    cluster.set(external_pid_file=str(pipe))
    cluster.stop()
    os.mkfifo(pipe, 0o600)
    os.chown(pipe, server_user().pw_uid, server_user().pw_gid)
    starting = threading.Thread(target=cluster.start)
    starting.start()
    note = cluster.data_directory / "postmaster.pid"
    wait_until(lambda: note.exists() and len(note.read_text().splitlines()) > 2, "the process had begun")
    began = int(note.read_text().splitlines()[2])
    wait_until(lambda: time.time() > began + LONGER_THAN_ANY_CLOCK_IS_WRONG, "time had passed")
    assert pipe.read_text().strip() == str(cluster.pid)
    starting.join()
    ((ready,),) = cluster.sql("SELECT extract(epoch FROM pg_postmaster_start_time())::float8")
    assert ready > began + LONGER_THAN_ANY_CLOCK_IS_WRONG - 1
    assert site.module("pitr_configure", restart="report")["restart_required"]
