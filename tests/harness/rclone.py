# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An S3 server that promises more than it keeps: `rclone serve s3`.

It overwrites where it was asked not to, with a success, and gives ranges the status of whole objects.
"""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from .cluster import LOCAL_ADDRESS, free_port
from .guard import wait_until
from .machine import CLEAN_ENVIRONMENT, PROGRAMS, cannot_be_had
from .s3 import Account

BUCKET = "bucket"


class Rclone:
    """The server, over a folder with one bucket. Its process works in that folder and ends with it."""

    def __init__(self, folder: Path) -> None:
        program = PROGRAMS / "rclone"
        if not program.exists():
            cannot_be_had("rclone is not in build/venv: run make test, which installs it")
        (folder / BUCKET).mkdir(parents=True)
        port = free_port()
        self.owner = Account("key", "secret")
        self.endpoint = f"http://{LOCAL_ADDRESS}:{port}"
        address = ("--addr", f"{LOCAL_ADDRESS}:{port}", "--auth-key", "key,secret")
        self._process = subprocess.Popen(
            [program, "serve", "s3", *address, "--vfs-cache-mode", "off", folder],
            cwd=folder,
            env={**CLEAN_ENVIRONMENT, "RCLONE_CONFIG": str(folder / "rclone.conf")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(lambda: self._listens(port), "rclone listened")

    @staticmethod
    def _listens(port: int) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((LOCAL_ADDRESS, port)) == 0

    def stop(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.wait()
