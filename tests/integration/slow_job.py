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
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import LifeboatError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.ports import ProgressSink
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.privileges import owner_of, run_as
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.process import Runner
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.events import (
    Finished,
    PhaseStarted,
    Progress,
)
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.report.job_file import open_job

SPEC = {
    "data_directory": {"type": "path", "required": True},
    "login_password": {"type": "str", "no_log": True},
    "job_id": {"type": "str", "default": "slow"},
    "end": {"type": "str", "choices": ["succeed", "fail", "be killed", "never"], "default": "succeed"},
}


def main() -> None:
    """Do what `end` says."""
    module = AnsibleModule(SPEC, supports_check_mode=True)
    if module.check_mode:
        module.exit_json(changed=True, predicted=True)
    folder, end = Path(module.params["data_directory"]), module.params["end"]

    def task(sink: ProgressSink) -> dict[str, Any]:
        sink.emit(PhaseStarted("reading the label"))
        sink.emit(PhaseStarted("copying files", "4 at once"))
        for done in range(1000):
            sink.emit(Progress(done, 1000))
        if end == "fail":
            raise LifeboatError("copying files", "the disk is full.", "Make room.", code="disk_full")
        if end == "be killed":
            os.abort()
        if end == "never":
            wait_for_ever(folder)
        sink.emit(PhaseStarted("publishing"))
        return {"changed": True, "uid": os.geteuid()}

    job = open_job(module.params["job_id"], "pg_backup")
    try:
        result = run_as(owner_of(folder), task, job)
    except LifeboatError as error:
        job.emit(Finished(False, error.message))
        module.fail_json(error.message, error_code=error.code)
    job.emit(Finished(True, "backup 7"))
    module.exit_json(**result)


def wait_for_ever(folder: Path) -> None:
    """Start a program that never ends, and leave a sign of having been able to clean up after it."""
    try:
        Runner().run(["sh", "-c", f"echo $$ > {folder}/pid.new; mv {folder}/pid.new {folder}/pid; exec sleep 1000"])
    finally:
        (folder / "cleaned").touch()


if __name__ == "__main__":
    main()
