# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A place in an S3 bucket for each contender, on the server that the tests use, by https as pgBackRest demands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.lifeboat.postgresql.tests.harness.s3 import REGION, Place, S3Server

from .stage import Stage


@dataclass(frozen=True)
class Bucket:
    """How a contender reaches its place."""

    _server: S3Server = field(repr=False)
    place: Place
    endpoint: str
    ca_file: Path
    credentials_file: Path
    access_key: str
    secret_key: str = field(repr=False)
    region: str = REGION

    def remove(self, chosen: Callable[[str], bool]) -> None:
        """Remove the objects of this place whose names there are chosen."""
        client = self._server.client()
        for name in filter(chosen, self._server.names(self.place)):
            client.delete_object(Bucket=self.place.bucket, Key=f"{self.place.prefix}/{name}")


def places(stage: Stage, count: int) -> list[Bucket]:
    """Start the server and make places; everything goes with the run."""
    server = S3Server(stage.run_folder)
    credentials = server.owner.write(stage.commands / "s3.credentials")
    return [
        Bucket(
            server,
            server.new_place(),
            server.tls_endpoint,
            server.ca_file,
            credentials,
            server.owner.access_key,
            server.owner.secret_key,
        )
        for _number in range(count)
    ]
