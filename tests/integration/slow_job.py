#!/usr/bin/python
# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes the place of `pg_backup` where a test needs a job that takes as long as the test wants.

It reports, drops privileges and starts a program as the real modules do.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.lifeboat.postgresql.plugins.module_utils._ansible import arguments, runner
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.ports import ProgressSink
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.privileges import owner_of
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.process import Runner
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import PhaseStarted, Progress


def main() -> None:
    """Do what `end` says: succeed, fail, be killed, or never end."""
    ends = ["succeed", "fail", "be killed", "never"]
    spec = {**arguments.SHARED, "end": {"type": "str", "choices": ends, "default": "succeed"}}
    module = AnsibleModule(spec, supports_check_mode=True)
    folder, end = Path(module.params["data_directory"]), module.params["end"]

    def task(sink: ProgressSink) -> dict[str, Any]:
        if module.check_mode:
            return {"changed": True, "predicted": True}
        sink.emit(PhaseStarted("reading the label"))
        sink.emit(PhaseStarted("copying files", "4 at once"))
        for done in range(1000):
            sink.emit(Progress(done, 1000))
        if end == "fail":
            raise LifeboatError("copying files", "the disk is full.", "Make room.", code="disk_full")
        if end == "be killed":
            os.abort()
        if end == "never":
            try:
                Runner().run(
                    ["sh", "-c", f"echo $$ > {folder}/pid.new; mv {folder}/pid.new {folder}/pid; exec sleep 1000"]
                )
            finally:
                (folder / "cleaned").touch()
        sink.emit(PhaseStarted("publishing"))
        return {"changed": True, "msg": "backup 7", "uid": os.geteuid()}

    with runner.reporting(module):
        runner.run(module, (), lambda: owner_of(folder), task)


if __name__ == "__main__":
    main()
