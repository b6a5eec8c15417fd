# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL's own judgement of a restored data directory."""

from __future__ import annotations

from harness import Cluster
from support import start_and_recover

# What pg_amcheck does from PostgreSQL 14 on, for its predecessor without the program.
_BTREES = (
    "SELECT bt_index_parent_check(c.oid, true, true) FROM pg_class c JOIN pg_am a ON a.oid = c.relam"
    " JOIN pg_index i ON i.indexrelid = c.oid"
    " WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence = 'p' AND i.indisready AND i.indisvalid"
)


def judge_before_start(restored: Cluster) -> None:
    """pg_verifybackup; it must come before the first start."""
    restored.postgres.run("pg_verifybackup", restored.data_directory)


def judge_running(restored: Cluster) -> None:
    """pg_amcheck, or on 13 its extension's functions."""
    if restored.postgres.major >= 14:
        restored.run("pg_amcheck", "--all", "--install-missing", "--heapallindexed", "--parent-check")
        return
    for (database,) in restored.sql("SELECT datname FROM pg_database WHERE datallowconn"):
        restored.sql("CREATE EXTENSION IF NOT EXISTS amcheck", db=database)
        assert len(restored.sql(_BTREES, db=database)) > 50


def judge_stopped(restored: Cluster) -> None:
    """pg_checksums, after a clean stop."""
    restored.stop()
    restored.postgres.run("pg_checksums", "--check", "--pgdata", restored.data_directory)


def judge(restored: Cluster) -> None:
    """All of it, on a directory that was restored and not started yet; leaves it stopped."""
    judge_before_start(restored)
    start_and_recover(restored)
    judge_running(restored)
    judge_stopped(restored)
