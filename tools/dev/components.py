# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of unpacked components: each is there whole or not at all, whoever fills the cache at the same time."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from debian_packages import Unavailable


def default_cache() -> Path:
    """$LIFEBOAT_CACHE, or build/cache of this checkout."""
    return Path(os.environ.get("LIFEBOAT_CACHE") or Path(__file__).resolve().parents[2] / "build/cache").resolve()


class Cache:
    """A folder with one folder per component; checkouts may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process at a time fill the cache."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def new_component(self, name: str, *, private: bool = False) -> Iterator[tuple[Path, Path]]:
        """A folder to fill, and the one that it then becomes. All users can read it, unless it is *private*."""
        final = self.folder / name
        folder = self.folder / f".new-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            yield folder, final
            if not private:
                subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
            shutil.rmtree(final, ignore_errors=True)
            folder.rename(final)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def pip_install(requirement: str, folder: Path) -> None:
    """Unpack one Python package into a folder."""
    command = [sys.executable, "-m", "pip", "install", "-qq", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run([*command, "--no-deps", "--target", str(folder), requirement], stdout=sys.stderr, check=False)
    if done.returncode:
        raise Unavailable(f"pip could not fetch {requirement}: is its package index reachable?")


def say(message: str) -> None:
    """Tell the person who waits; standard output is for the result."""
    print(f"  {message}", file=sys.stderr, flush=True)


def report(answer: Callable[[], object]) -> int:
    """Print the answer, or in one line why there is none; the exit status."""
    os.umask(0o022)
    try:
        print(answer())
    except (Unavailable, OSError, subprocess.CalledProcessError) as error:
        print(f"lifeboat: {error}", file=sys.stderr)
        return 1
    return 0
