# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the commands that dump databases and bring them back."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def add_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    common: argparse.ArgumentParser,
    classes: Sequence[str],
) -> list[argparse.ArgumentParser]:
    """Their parsers."""
    dump = commands.add_parser("dump", parents=[common], help="make a logical backup of databases", allow_abbrev=False)
    dump.add_argument("--database", action="append", default=[], help="a database; may be given again (all of them)")
    dump.add_argument("--format", choices=("custom", "plain"), default="custom", help="pg_dump's format (custom)")
    for name, text in (
        ("table", "only this table or pattern"),
        ("exclude-table", "without this table or pattern"),
        ("exclude-table-data", "this table or pattern without its rows"),
    ):
        dump.add_argument(f"--{name}", action="append", default=[], metavar="PATTERN", help=f"{text}; repeatable")
    dump.add_argument("--no-globals", action="store_true", help="without roles and tablespaces")
    dump.add_argument("--class", dest="backup_class", choices=classes, default="manual", help="its class (manual)")
    dump.add_argument("--max-age", type=float, metavar="HOURS", help="do nothing if a dump is not older than this")
    dump.add_argument("--max-rate", type=float, metavar="MB", help="at most this many megabytes a second")

    load = commands.add_parser(
        "restore-dump", parents=[common], help="bring a database of a logical backup back", allow_abbrev=False
    )
    load.add_argument("--backup", default="latest", help="the backup's id (latest)")
    load.add_argument("--database", help="which of the backup's databases")
    load.add_argument("--file", type=Path, help="a dump in a file instead of the repository's")
    load.add_argument("--file-passphrase-file", type=Path, help="the file with what that was encrypted with")
    load.add_argument("--table", action="append", default=[], help="only this table of an SQL dump; repeatable")
    load.add_argument("--target-database", help="the database to restore into (its own name)")
    load.add_argument(
        "--if-exists", choices=("fail", "add", "drop", "replace"), default="fail", help="if that is there (fail)"
    )
    load.add_argument("--no-owner", action="store_true", help="let everything belong to the role that restores")
    load.add_argument("--no-privileges", action="store_true", help="leave granted privileges out")
    load.add_argument(
        "--missing-roles", choices=("fail", "create"), default="fail", help="what to do about missing roles (fail)"
    )
    load.add_argument("--jobs", type=int, default=1, help="how many tables and indexes at once (1)")
    for parser in (dump, load):
        parser.add_argument("--content", choices=("all", "schema", "data"), default="all", help="what of it (all)")
        parser.add_argument("--low-priority", action="store_true", help="leave processor and disk to others")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return [dump, load]
