# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The desired state of the on-host command and its configuration file."""

from __future__ import annotations

import grp
import os
import sys
from pathlib import Path
from typing import Any

from .._engine import connection_settings, contents, durable
from .._engine.agent_bundle import Installation, engine_sources
from .._engine.config import text
from .._engine.errors import PreconditionError

# The application is made from all that is imported here.
ENGINE = contents.__all__


def other_interpreter(wanted: str) -> bool:
    """Whether the application must be made by another Python than this: bytecode differs between versions."""
    if not os.access(wanted, os.X_OK):
        raise PreconditionError(
            "installing the command lifeboat",
            f"the interpreter {wanted} does not exist or cannot be executed.",
            "Install Python there, or set interpreter to one that every user may run.",
            code="interpreter_missing",
        )
    return os.path.realpath(sys.executable) != os.path.realpath(wanted)


def sections(described: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """Options of the module as sections of the file; what was left out stays out."""
    return {
        str(given["name"]): {key: text(value) for key, value in given.items() if key != "name" and value is not None}
        for given in described
    }


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _group_id(group: str | None) -> int:
    if group is None:
        return -1
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError as exc:
        raise PreconditionError(
            "writing the configuration file",
            f"this machine knows no group {group}.",
            "Correct its name, or install PostgreSQL first.",
            code="unknown_group",
        ) from exc


def _access_differs(path: Path, mode: int, group_id: int) -> bool:
    try:
        facts = path.stat()
    except FileNotFoundError:
        return True
    return facts.st_mode & 0o7777 != mode or group_id not in (-1, facts.st_gid)


def cluster_sections(described: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    """The same of clusters, each with a connection that can be understood."""
    found = sections(described)
    for name, values in found.items():
        connection_settings.parse(name, values)
    return found


def _mode(config_file: Path, clusters: dict[str, dict[str, str]], group: str | None) -> int:
    """Others may read the file, unless it holds a secret: then those who need it must be named."""
    if group:
        return 0o640
    if not any(map(connection_settings.has_secret, clusters.values())):
        return 0o644
    if os.geteuid() == 0:
        raise PreconditionError(
            f"writing {config_file}",
            "a database_url in it has a password, and everybody could read it.",
            "Set group to that of the data directories' owner, or leave the password to a .pgpass file.",
            code="config_group_needed",
        )
    return 0o600


def present(
    installation: Installation,
    config_file: Path,
    text: str,
    clusters: dict[str, dict[str, str]],
    group: str | None,
    *,
    check_mode: bool,
) -> dict[str, Any]:
    """Command and file as described."""
    sources = engine_sources()
    group_id, mode = _group_id(group), _mode(config_file, clusters, group)
    before = _read(config_file)
    command_differs = not installation.is_current(sources)
    file_differs = before != text or _access_differs(config_file, mode, group_id)
    if not check_mode:
        try:
            if command_differs:
                installation.install(sources)
            if file_differs:
                durable.make_directories(config_file.parent, 0o755)
                durable.write_file(config_file, text.encode(), mode)
                os.chown(config_file, -1, group_id)
        except OSError as exc:
            raise _not_permitted(exc) from exc
    return {
        "changed": command_differs or file_differs,
        "command": str(installation.link),
        "application": str(installation.application(sources)),
        "config_file": str(config_file),
        "diff": [
            {"before_header": str(config_file), "after_header": str(config_file), "before": before, "after": text},
            _command_diff(installation, command_differs, str(installation.application(sources))),
        ],
    }


def absent(installation: Installation, config_file: Path, *, check_mode: bool) -> dict[str, Any]:
    """Neither command nor file; keys and repositories stay."""
    before = _read(config_file)
    there = installation.installed() or config_file.exists()
    if there and not check_mode:
        try:
            installation.remove()
            config_file.unlink(missing_ok=True)
        except OSError as exc:
            raise _not_permitted(exc) from exc
    return {
        "changed": there,
        "command": str(installation.link),
        "config_file": str(config_file),
        "diff": {"before_header": str(config_file), "after_header": str(config_file), "before": before, "after": ""},
    }


def _command_diff(installation: Installation, differs: bool, application: str) -> dict[str, str]:
    link = str(installation.link)
    try:
        now = os.readlink(link)
    except OSError:
        now = ""
    before = "" if differs and now == application else now
    return {"before_header": link, "after_header": link, "before": f"{before}\n", "after": f"{application}\n"}


def _not_permitted(exc: OSError) -> PreconditionError:
    return PreconditionError(
        "installing the command lifeboat",
        f"{exc.strerror}: {exc.filename}.",
        "Run it as root (become: true), or set prefix and config_file to places this user may write to.",
        code="install_not_permitted",
    )
