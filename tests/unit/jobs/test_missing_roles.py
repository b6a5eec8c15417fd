# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which roles a dump names, and which lines of the dumped roles make them."""

from __future__ import annotations

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.jobs.restore.missing_roles import (
    create_missing,
    needed_by,
)

ROLES = """
CREATE ROLE app;
ALTER ROLE app WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$x';
CREATE ROLE "Owner ""of"" all";
ALTER ROLE "Owner ""of"" all" WITH NOSUPERUSER;
CREATE ROLE other;
ALTER ROLE other WITH SUPERUSER;
"""


class Server:
    def __init__(self, *there: str) -> None:
        self.there = there
        self.executed: list[str] = []

    def rows(self, _attempted: str, _query: str) -> list[tuple[str]]:
        return [(name,) for name in self.there]

    def execute(self, _attempted: str, statement: bytes) -> None:
        self.executed.append(statement.decode())


@pytest.mark.parametrize(
    ("line", "roles"),
    [
        ("ALTER TABLE public.orders OWNER TO app;", {"app"}),
        ('ALTER TABLE "a;b" OWNER TO "Owner ""of"" all";', {'Owner "of" all'}),
        ("GRANT SELECT,INSERT ON TABLE public.orders TO reader;", {"reader"}),
        ("GRANT USAGE ON SCHEMA s TO reader WITH GRANT OPTION;", {"reader"}),
        ("REVOKE ALL ON SCHEMA public FROM PUBLIC;", set()),
        ("ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA public GRANT SELECT ON TABLES TO reader;", {"app", "reader"}),
        ("CREATE TABLE owner_to (app text);", set()),
    ],
)
def test_roles_that_are_named(line: str, roles: set[str]) -> None:
    assert needed_by(line) == roles


def test_only_what_is_needed_and_not_there_is_made() -> None:
    server = Server("app", "postgres")
    assert create_missing(server, ROLES, {"app", 'Owner "of" all'}) == ['Owner "of" all']  # type: ignore[arg-type]
    assert server.executed == ['CREATE ROLE "Owner ""of"" all";', 'ALTER ROLE "Owner ""of"" all" WITH NOSUPERUSER;']
