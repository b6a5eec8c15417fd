# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo tells its story to the end, and leaves nothing but its report."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import CHECKOUT, PROGRAMS, Postgres, wait_until
from harness.guard import processes_in

STAGES = "lifeboat-demo-*"


class Demo:
    """A run of the demo as `tools/dev/demo.sh` starts it, with its output in a file."""

    def __init__(self, home: Path, postgres: Postgres, **environment: str) -> None:
        self.home = home
        self.log = home / "log"
        self._others = set(Path("/tmp").glob(STAGES))
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [CHECKOUT / "tools/demo/run"],
                env={
                    "PATH": os.environ["PATH"],
                    "LIFEBOAT_HOME": str(home),
                    "LIFEBOAT_VENV": str(PROGRAMS.parent),
                    "LIFEBOAT_PG_BIN": str(postgres.bin_dir),
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self.log.read_text()

    @property
    def stages(self) -> list[Path]:
        """The folders that this run, or another one at the same time, works in."""
        return [folder for folder in Path("/tmp").glob(STAGES) if folder not in self._others]

    def wait(self) -> int:
        """Wait for its end."""
        return self.process.wait(timeout=900)


@pytest.fixture
def demo(new_folder: Callable[[], Path], postgres: Postgres) -> Iterator[Callable[..., Demo]]:
    """Starts demos; none outlives the test."""
    runs: list[Demo] = []

    def start(**environment: str) -> Demo:
        runs.append(Demo(new_folder(), postgres, **environment))
        return runs[-1]

    yield start
    for run in runs:
        run.process.terminate()
        run.wait()


def test_the_demo_gets_everything_back_proves_it_and_cleans_up(demo: Callable[..., Demo]) -> None:
    run = demo()
    assert run.wait() == 0, run.output
    assert len(re.findall(r"^\d/7  ", run.output, re.MULTILINE)) == 7
    for playbook in ("configure", "backup", "pitr", "drill"):
        assert f"$ ansible-playbook lifeboat.postgresql.{playbook}" in run.output
    for phase in ("pg_backup: copying files", "pg_restore: replaying WAL", "backup_verify: running assertions"):
        assert phase in run.output
    summary = run.output[run.output.index("What happened") :]
    assert "a second server has 201,234 orders: 0 are missing" in summary
    assert re.search(r"RTO \d+\.\d s", summary)
    assert re.search(r"RPO \d+\.\d s", summary)
    assert len(summary.strip().splitlines()) <= 10
    report = run.home / "demo/report.html"
    assert str(report) in summary
    assert "Every backup was restored and proven" in report.read_text()
    (result,) = json.loads(report.with_suffix(".json").read_text())["results"]
    names = {check["name"] for check in result["checks"]}
    assert {"pg_verifybackup", "page checksums", "amcheck", "every order is there"} <= names
    assert run.stages == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_a_demo_that_does_not_get_to_its_end_leaves_nothing(demo: Callable[..., Demo], number: signal.Signals) -> None:
    run = demo()
    wait_until(lambda: "pg_backup: copying files" in run.output, "the demo was in the middle of a backup", timeout=300)
    (stage,) = run.stages
    assert processes_in(stage)
    run.process.send_signal(number)
    run.wait()
    wait_until(lambda: not stage.exists(), "the demo's folder was removed", timeout=120)
    wait_until(lambda: not processes_in(stage), "the last of the demo's processes had ended")


def test_a_demo_is_kept_on_request(demo: Callable[..., Demo]) -> None:
    run = demo(KEEP="1")
    wait_until(lambda: "pg_backup: copying files" in run.output, "the demo was in the middle of a backup", timeout=300)
    (stage,) = run.stages
    run.process.send_signal(signal.SIGTERM)
    run.wait()
    try:
        assert (stage / "pg/shop/postmaster.pid").exists()
        assert (stage / "inventory.json").exists()
        assert f"kept in {stage}" in run.output
    finally:
        os.kill(int((stage / "pg/shop/postmaster.pid").read_text().split()[0]), signal.SIGINT)
        wait_until(lambda: not processes_in(stage), "the kept server had stopped")
        subprocess.run(["rm", "-r", stage], check=True)
