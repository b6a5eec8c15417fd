# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A home folder for linters, so that they neither read nor litter that of whoever runs them.

What they have to know of the real one is how pip reaches its package index. ansible-test makes
environments of its own and drops pip's settings from theirs, so all of them are written to a file.
"""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from ast import literal_eval
from pathlib import Path


def prepare_home(home: Path) -> None:
    """Make *home* and write pip's settings there, for nobody else to read: an address may hold a password."""
    configuration = configparser.RawConfigParser()
    configuration.read_dict(_pip_settings())
    file = home / ".config" / "pip" / "pip.conf"
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(file, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as opened:
        configuration.write(opened)


def _pip_settings() -> dict[str, dict[str, str]]:
    """Return what pip is told by its files and by the environment, which has the last word."""
    settings: dict[str, dict[str, str]] = {"global": {"cache-dir": _pip("cache", "dir").strip(), "quiet": "2"}}
    of_environment: dict[str, str] = {}
    for line in _pip("config", "list").splitlines():
        name, value = line.split("=", 1)
        section, option = name.rsplit(".", 1)
        target = of_environment if section == ":env:" else settings.setdefault(section, {})
        target[option] = literal_eval(value)
    settings["global"].update(of_environment)
    return settings


def _pip(*arguments: str) -> str:
    command = [sys.executable, "-m", "pip", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
