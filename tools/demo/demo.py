# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lose a database and get it back: the collection's playbooks, on a throwaway PostgreSQL.

Takes what it needs from LIFEBOAT_HOME, LIFEBOAT_VENV and LIFEBOAT_PG_BIN, as tools/dev/demo.sh sets them. KEEP=1 keeps
the folder with everything in it, servers running. The report is always kept, in LIFEBOAT_HOME/demo.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from plays import HOST, Ansible
from stage import DemoFailed, Stage

FIRST_ORDERS, MORE_ORDERS = 200_000, 1_234
RESCUE_PORT = 5433
STEPS = 7


class Story:
    """The steps, in order. Each says what it is about, then lets Ansible do it."""

    def __init__(self, stage: Stage, venv: Path, reports: Path) -> None:
        self._stage = stage
        self._venv = venv
        self._reports = reports
        self._ansible = Ansible(stage, venv)
        self._step = 0

    def tell(self) -> dict[str, Any]:
        """Everything, from the first order to the report; what the summary needs."""
        self._begin(f"A little web shop opens: PostgreSQL {self._stage.server_version()}, {FIRST_ORDERS:,} orders.")
        self._stage.start_server()
        self._ansible.prepare(**self._host_variables())
        self._ansible.own("sell", shop_orders=FIRST_ORDERS, shop_opens=True)

        self._begin("Set up Lifeboat: the on-host command, encrypted WAL archiving that is proven, a first backup.")
        self._ansible.collection("configure")
        print("     Nobody can read a repository without its key: on a real host you would now copy it elsewhere.")

        self._begin("Take another backup, as a timer would every night.")
        self._ansible.collection("backup")

        self._begin(f"Business goes on, {MORE_ORDERS:,} orders that no backup has. Then somebody drops the table.")
        self._ansible.own("sell", shop_orders=MORE_ORDERS)
        accident = self._ansible.own("accident")
        print(f"     {accident['orders']:,} orders at {accident['moment']}, none a moment later.")

        self._begin("Recover to the moment before the accident, into a second server beside the first.")
        self._ansible.collection(
            "pitr",
            lifeboat_hosts=HOST,
            confirm=f"{HOST}/main",
            restore_target_time=accident["moment"],
            restore_destination=self._stage.folder / "pg/rescued",
            restore_port=RESCUE_PORT,
            restore_socket_directory=self._stage.sockets,
        )

        self._begin("Look for the orders in the second server.")
        rescued = self._ansible.own("look", shop_port=RESCUE_PORT)
        print(f"     {rescued['orders']:,} orders.")

        self._begin("Prove it the way an auditor wants it: restore once more, check everything, measure, report.")
        self._ansible.collection(
            "drill",
            drill_target_time=accident["moment"],
            orders_expected=accident["orders"],
        )
        (drill,) = json.loads((self._reports / "report.json").read_text())["results"]
        return {"accident": accident, "rescued": rescued["orders"], "drill": drill}

    def _host_variables(self) -> dict[str, Any]:
        """What the inventory of a real host would say, with places in the folder instead of the system's."""
        folder = self._stage.folder
        return {
            "agent_install_packages": False,
            "agent_interpreter": self._venv / "bin/python",
            "archiving_restart": True,
            "drill_assertions": [
                {
                    "name": "every order is there",
                    "database": "shop",
                    "table": "orders",
                    "equals": "{{ orders_expected }}",
                },
                {
                    "name": "no order without a customer",
                    "database": "shop",
                    "query": "SELECT count(*) FROM orders WHERE customer IS NULL",
                    "equals": "0",
                },
            ],
            "drill_report_directory": self._reports,
            "drill_report_name": "report",
            "drill_rpo_target": 60,
            "drill_rto_target": 60,
            "drill_scratch_directory": folder / "scratch",
            "lifeboat_config_file": folder / "etc/lifeboat.conf",
            "lifeboat_prefix": folder / "usr",
            "lifeboat_repositories": [
                {"name": "local", "url": folder / "backups", "key_file": folder / "keys/local.key"},
            ],
            "lifeboat_clusters": [
                {"name": "main", "data_directory": self._stage.data_directory, "bin_dir": self._stage.pg_bin},
            ],
            "shop_psql": [
                self._stage.pg_bin / "psql",
                *("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"),
                *("--username=postgres", f"--host={self._stage.sockets}"),
            ],
        }

    def _begin(self, sentence: str) -> None:
        self._step += 1
        print(f"\n{_bold(f'{self._step}/{STEPS}  {sentence}')}")


def summary(told: dict[str, Any], page: Path, seconds: float) -> str:
    """The whole story in ten lines."""
    drill, orders, rescued = told["drill"], told["accident"]["orders"], told["rescued"]
    seen = f"{len(drill['checks'])} checks by PostgreSQL's own tools and by SQL, all of them good"
    return f"""
{_bold("What happened")}
  The shop had {orders:,} orders. Dropping the table lost all of them; {MORE_ORDERS:,} were in no backup.
  Recovered to the moment before, a second server has {rescued:,} orders: {orders - rescued:,} are missing.
  The drill did it again and looked closer: {seen}.
  {_bold("RTO")} {drill["rto_seconds"]:.1f} s: from the decision to restore until the restored server answered a query.
  {_bold("RPO")} {drill["rpo_seconds"]:.1f} s: age of the newest transaction brought back, seen from that moment.
  {_bold("Report")} {page}
  It took {seconds:.0f} s. How to do the same for a server of your own is in README.md."""


def _bold(text: str) -> str:
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


def _interrupted(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    home, venv, pg_bin = (Path(os.environ[f"LIFEBOAT_{name}"]) for name in ("HOME", "VENV", "PG_BIN"))
    reports, keep = home / "demo", os.environ.get("KEEP", "") not in ("", "0")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    began, stage = time.monotonic(), Stage(pg_bin, keep=keep)
    print(f"Lose a database and get it back. Everything happens in {stage.folder}, for about a minute.")
    try:
        with stage:
            told = Story(stage, venv, reports).tell()
            print(summary(told, reports / "report.html", time.monotonic() - began))
            print(
                _kept(stage) if keep else "  All else has been removed, servers and files; KEEP=1 make demo keeps them."
            )
    except DemoFailed as failed:
        print(f"\nThe demo did not work: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        left = f"kept in {stage.folder}" if keep else "removed"
        print(f"\nInterrupted; servers and files of the demo have been {left}.", file=sys.stderr)
        return 130
    return 0


def _kept(stage: Stage) -> str:
    psql = f"{stage.pg_bin}/psql -h {stage.sockets} -p {RESCUE_PORT} -U postgres shop"
    stop = f'for d in {stage.folder}/pg/*/; do kill -INT "$(head -n 1 "$d/postmaster.pid")"; done'
    return f"""  Kept, with both servers running: {stage.folder}
    to look inside:  {psql}
    to end it:       {stop}; rm -r {stage.folder}"""


if __name__ == "__main__":
    sys.exit(main())
