# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A password is compared with what libpq makes of it; that the server agrees is shown by signing in."""

from __future__ import annotations

import pytest
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.postgres import role_password


@pytest.mark.parametrize("password", ["plain", "ü\u00a0x", "ﬁne", "soft\u00adhyphen", "tab\tin it", "ab\u0221", " "])
def test_what_libpq_makes_of_it(password: str) -> None:
    for method in ("scram-sha-256", "md5"):
        kept = hashed(password, method)
        assert role_password.matches(kept, password, "rôle")
        assert not role_password.matches(kept, f"{password}x", "rôle")
    assert role_password.matches(hashed(password, "md5"), password, "another") is False


@pytest.mark.parametrize("kept", [None, "", "plain", "SCRAM-SHA-256$1:x", "SCRAM-SHA-512$4096:YQ==$YQ==:YQ=="])
def test_anything_else_is_another_password(kept: str | None) -> None:
    assert not role_password.matches(kept, "plain", "role")


def hashed(password: str, method: str) -> str:
    from psycopg.pq import PGconn

    connection = PGconn.connect_start(b"host=/nowhere")
    return connection.encrypt_password(password.encode(), "rôle".encode(), method.encode()).decode()
