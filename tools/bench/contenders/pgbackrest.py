# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""pgBackRest: bundles, block-level incremental and encryption on, as its users' guide advises."""

from __future__ import annotations

import json
import secrets
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from ansible_collections.lifeboat.postgresql.tests.harness import Cluster, run, server_folder, server_user, wait_until

from ..bucket import Bucket
from ..measuring import Command
from ..stage import Stage, make_private
from .base import JOBS, ZSTD_LEVEL, bytes_below
from .pgbackrest_package import version_of

_STANZA = "main"
_TYPES = {"full": "full", "incremental": "incr"}

_CONFIGURATION = """\
[global]
repo1-path={repository}
{storage}repo1-cipher-type=aes-256-cbc
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


_STORAGE = """\
repo1-type=s3
repo1-s3-bucket={bucket}
repo1-s3-endpoint={host}
repo1-storage-port={port}
repo1-s3-region={region}
repo1-s3-uri-style=path
repo1-storage-ca-file={ca_file}
repo1-s3-key={access_key}
repo1-s3-key-secret={secret_key}
"""


def _in_bucket(bucket: Bucket) -> str:
    address = urlsplit(bucket.endpoint)
    return _STORAGE.format(
        bucket=bucket.place.bucket,
        host=address.hostname,
        port=address.port,
        region=bucket.region,
        ca_file=bucket.ca_file,
        access_key=bucket.access_key,
        secret_key=bucket.secret_key,
    )


class PgBackRest:
    """A contender."""

    def __init__(self, program: Path, cluster: Cluster, stage: Stage, bucket: Bucket | None = None) -> None:
        """Write its configuration and make its stanza."""
        name = "pgbackrest-s3" if bucket else "pgbackrest"
        self.name = f"pgbackrest {version_of(program)}"
        self._repository = server_folder(stage.disk / name, 0o750)
        self._bucket = bucket
        configuration = stage.commands / f"{name}.conf"
        make_private(
            configuration,
            _CONFIGURATION.format(
                repository=f"/{bucket.place.prefix}" if bucket else self._repository,
                storage=_in_bucket(bucket) if bucket else "",
                passphrase=secrets.token_urlsafe(48),
                level=ZSTD_LEVEL,
                jobs=JOBS,
                own=server_folder(stage.commands / name),
                stanza=_STANZA,
                data=cluster.data_directory,
                port=cluster.port,
                sockets=cluster.socket_dir,
            ),
        )
        self._command: list[str | Path] = [program, f"--config={configuration}", f"--stanza={_STANZA}"]
        self.archive_command = " ".join(map(str, [*self._command, "archive-push", '"%p"']))
        # A second file with the same settings and asynchronous WAL: what backups archive goes the plain way.
        in_background = stage.commands / f"{name}-wal.conf"
        plain = configuration.read_text()
        make_private(in_background, plain.replace("[global]\n", "[global]\narchive-async=y\n"))
        self._with_wal: list[str | Path] = [program, f"--config={in_background}", f"--stanza={_STANZA}"]
        self.wal_command = " ".join(map(str, [*self._with_wal, "archive-push", '"%p"']))
        self._spool = stage.commands / name / "archive"
        self._say("stanza-create")

    def backup(self, kind: str) -> Command:
        return [*self._command, "backup", f"--type={_TYPES[kind]}"]

    def newest(self) -> str:
        (stanza,) = json.loads(self._say("info", "--output=json"))
        return str(stanza["backup"][-1]["label"])

    def restore(self, backup: str, directory: Path, *, delta: bool = False) -> Command:
        command = [*self._command, "restore", f"--set={backup}", f"--pg1-path={directory}", "--type=immediate"]
        return [*command, "--delta"] if delta else command

    def restore_to_end(self, backup: str, directory: Path) -> Command:
        return [*self._with_wal, "restore", f"--set={backup}", f"--pg1-path={directory}", "--archive-mode=off"]

    def forget_wal(self) -> None:
        wait_until(lambda: not any(self._spool.parent.glob("*-archive*.lock")), "the background had ended")
        shutil.rmtree(self._spool, ignore_errors=True)
        archive = f"archive/{_STANZA}/"  # with `archive.info`, which has to stay, and a folder of each system's WAL
        if self._bucket:
            self._bucket.remove(lambda name: name.startswith(archive) and "/" in name[len(archive) :])
            return
        for folder in (self._repository / archive).iterdir():
            if folder.is_dir():
                for timeline in folder.iterdir():
                    shutil.rmtree(timeline) if timeline.is_dir() else timeline.unlink()

    def stored_bytes(self) -> int:
        return bytes_below(self._repository / "backup")

    def _say(self, *words: str) -> str:
        return run([*self._command, *words], user=server_user()).stdout
