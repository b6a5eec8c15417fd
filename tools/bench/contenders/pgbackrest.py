# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgBackRest: bundles, block-level incremental and encryption on, as its users' guide advises."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from ansible_collections.lifeboat.postgresql.tests.harness import Cluster, run, server_folder, server_user

from ..measuring import Command
from ..stage import Stage, make_private
from .base import JOBS, ZSTD_LEVEL, bytes_below
from .pgbackrest_package import version_of

_STANZA = "main"
_TYPES = {"full": "full", "incremental": "incr"}

_CONFIGURATION = """\
[global]
repo1-path={repository}
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass={passphrase}
repo1-bundle=y
repo1-block=y
expire-auto=n
compress-type=zst
compress-level={level}
process-max={jobs}
start-fast=y
lock-path={own}
spool-path={own}
log-path={own}
log-level-console=warn
log-level-file=off

[{stanza}]
pg1-path={data}
pg1-port={port}
pg1-socket-path={sockets}
pg1-user=postgres
"""


class PgBackRest:
    """A contender."""

    def __init__(self, program: Path, cluster: Cluster, stage: Stage) -> None:
        """Write its configuration and make its stanza."""
        self.name = f"pgbackrest {version_of(program)}"
        self._repository = server_folder(stage.disk / "pgbackrest", 0o750)
        configuration = stage.commands / "pgbackrest.conf"
        make_private(
            configuration,
            _CONFIGURATION.format(
                repository=self._repository,
                passphrase=secrets.token_urlsafe(48),
                level=ZSTD_LEVEL,
                jobs=JOBS,
                own=server_folder(stage.commands / "pgbackrest"),
                stanza=_STANZA,
                data=cluster.data_directory,
                port=cluster.port,
                sockets=cluster.socket_dir,
            ),
        )
        self._command: list[str | Path] = [program, f"--config={configuration}", f"--stanza={_STANZA}"]
        self.archive_command = " ".join(map(str, [*self._command, "archive-push", '"%p"']))
        self._say("stanza-create")

    def backup(self, kind: str) -> Command:
        return [*self._command, "backup", f"--type={_TYPES[kind]}"]

    def newest(self) -> str:
        (stanza,) = json.loads(self._say("info", "--output=json"))
        return str(stanza["backup"][-1]["label"])

    def restore(self, backup: str, directory: Path, *, delta: bool = False) -> Command:
        command = [*self._command, "restore", f"--set={backup}", f"--pg1-path={directory}", "--type=immediate"]
        return [*command, "--delta"] if delta else command

    def stored_bytes(self) -> int:
        return bytes_below(self._repository / "backup")

    def _say(self, *words: str) -> str:
        return run([*self._command, *words], user=server_user()).stdout
