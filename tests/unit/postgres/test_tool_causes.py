# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What client programs complain of gets a name and a remedy; what nobody knows stays what it is."""

from __future__ import annotations

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import ExternalToolError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres.tool_causes import explained


def failed(stderr: str) -> ExternalToolError:
    return ExternalToolError("dumping", f"pg_dump failed: {stderr}", "See there.", code="tool_failed", stderr=stderr)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('connection to server at "db", port 5432 failed: Connection refused', "server_not_reachable"),
        (
            'connection to server on socket "/s" failed: FATAL:  password authentication failed for user "x"',
            "authentication_failed",
        ),
        ('connection to server failed: FATAL:  database "shop" does not exist', "database_missing"),
        ("pg_dump: error: query failed: ERROR:  permission denied for table orders", "role_lacks_privilege"),
        ('pg_restore: error: could not execute query: ERROR:  role "app" does not exist', "role_missing"),
        ('ERROR:  database "shop" already exists', "database_exists"),
        ('ERROR:  relation "orders" already exists', "object_exists"),
        ("pg_dump: error: could not write to output file: No space left on device", "disk_full"),
        ('ERROR:  could not extend file "base/5/16385": No space left on device', "disk_full"),
        ("pg_dump: error: no matching tables were found for pattern", "nothing_selected"),
        ('ERROR:  extension "postgis" is not available', "extension_missing"),
        ("pg_dump: error: aborting because of server version mismatch", "client_programs_missing"),
        ("FATAL:  terminating connection due to administrator command", "server_connection_lost"),
    ],
)
def test_known_causes(said: str, code: str) -> None:
    named = explained(failed(said))
    assert (named.code, named.attempted) == (code, "dumping")
    assert said.partition(": ")[0].strip() in named.message or said in named.message
    assert named.remedy != "See there."


def test_others_stay_as_they_are() -> None:
    error = failed("something that nobody has seen before")
    assert explained(error) is error
