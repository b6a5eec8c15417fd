# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lifeboat: the command that is installed on hosts, made from this checkout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine import agent_bundle, config, wal_spool
from ansible_collections.lifeboat.postgresql.tests.harness import (
    PROGRAMS,
    Cluster,
    run,
    server_folder,
    server_user,
    wait_until,
)

from ..bucket import Bucket
from ..measuring import Command
from ..stage import Stage, make_private
from .base import JOBS, bytes_below

NAME = "lifeboat"
_CLUSTER = "main"
_ON_HOST = Path(__file__).parents[1] / "on_host.py"


class Lifeboat:
    """A contender."""

    name = NAME

    def __init__(self, cluster: Cluster, stage: Stage, bucket: Bucket | None = None) -> None:
        """Install the command, make repository and key, register the cluster: with the one made last it archives."""
        name = "lifeboat-s3" if bucket else "lifeboat"
        self._repository = server_folder(stage.disk / name, 0o700)
        self._bucket = bucket
        own = server_folder(stage.commands / name, 0o700)
        settings = stage.commands / f"{name}.conf"
        repository = {"url": str(self._repository), "key_file": str(own / "key")}
        if bucket:
            repository |= {
                "url": bucket.place.url,
                "s3_endpoint": bucket.endpoint,
                "s3_ca_file": str(bucket.ca_file),
                "s3_credentials_file": str(bucket.credentials_file),
                "s3_path_style": "true",
            }
            (cluster.data_directory / wal_spool.CLAIM_FILE).unlink(missing_ok=True)  # of the other repository
        make_private(
            settings,
            config.render(
                {"local": repository},
                {
                    _CLUSTER: {
                        "repository": "local",
                        "data_directory": str(cluster.data_directory),
                        "bin_dir": str(cluster.postgres.bin_dir),
                    }
                },
            ),
        )
        python = PROGRAMS / "python"
        sources = agent_bundle.engine_sources()
        installation = agent_bundle.Installation(stage.commands / "usr", str(python))
        installation.install(sources)
        on_host = shutil.copy(_ON_HOST, stage.commands)  # where the server's user can read it
        self._which = ["--config", str(settings), "--cluster", _CLUSTER]
        self._command = [str(installation.link)]
        self._job = [str(python), "-I", on_host, str(installation.link), *self._which]
        self.archive_command = run([*self._job, "set-up"], user=server_user()).stdout.strip()
        self.wal_command = self.archive_command
        self._data_directory = cluster.data_directory

    def backup(self, kind: str) -> Command:
        return [*self._command, "backup", *self._which, "--type", kind, "--jobs", str(JOBS)]

    def newest(self) -> str:
        told = run([*self._command, "info", *self._which, "--json"], user=server_user()).stdout
        return str(json.loads(told)["backups"][-1]["id"])

    def restore(self, backup: str, directory: Path, *, delta: bool = False) -> Command:
        command = [*self._job, "restore", "--backup", backup, "--jobs", str(JOBS), str(directory)]
        return [*command, "--delta"] if delta else command

    def restore_to_end(self, backup: str, directory: Path) -> Command:
        return [*self._job, "restore", "--backup", backup, "--jobs", str(JOBS), "--to-end", str(directory)]

    def forget_wal(self) -> None:
        spool = wal_spool.WalSpool(str(self._data_directory), "")
        wait_until(lambda: not wal_spool.ring(spool.bell(wal_spool.PUSH), "end"), "the background had ended")
        shutil.rmtree(f"{spool.folder}/acknowledged", ignore_errors=True)
        for life in self._repository.glob("stanzas/*/wal/*"):
            shutil.rmtree(life)
        if self._bucket:
            self._bucket.remove(lambda name: name.startswith("stanzas/") and name.split("/")[2] == "wal")

    def stored_bytes(self) -> int:
        (stanza,) = (self._repository / "stanzas").iterdir()
        return bytes_below(*(folder for folder in stanza.iterdir() if folder.name != "wal"))
